# Two Tidegate nodes in two zones behind an external Application Load Balancer, and a Redis of their own.
# What both variants share is in ./shared; the nodes are in nodes.tf. Steps and limits: README.md.

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
  source = "./shared"

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

  groups = { for zone, group in google_compute_instance_group.nodes : zone => group.self_link }
}
