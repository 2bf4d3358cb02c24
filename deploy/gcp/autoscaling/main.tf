# The variant that grows and shrinks by itself: a regional managed instance group with autoscaling, autohealing and rolling
# updates. Network, Redis, secrets and load balancer are those of ../shared.

terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.0, < 8.0"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}

module "shared" {
  source = "../shared"

  project         = var.project
  region          = var.region
  redis_zone      = var.zones[0]
  name            = var.name
  domain          = var.domain
  release_bucket  = var.release_bucket
  release_object  = var.release_object
  release_sha256  = var.release_sha256
  redis_machine   = var.redis_machine
  redis_memory_mb = var.redis_memory_mb
  redis_disk_gb   = var.redis_disk_gb
  ssh_through_iap = var.ssh_through_iap
  admin_ranges    = var.admin_ranges

  groups = { region = google_compute_region_instance_group_manager.nodes.instance_group }
}
