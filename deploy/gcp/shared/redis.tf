# Redis on a machine of its own: every acknowledged record is on its disk (appendfsync always), and nothing is ever thrown
# away to make room. Memorystore as an alternative, and what it does not promise: README.md.

resource "google_compute_address" "redis" {
  name         = "${var.name}-redis"
  region       = var.region
  address_type = "INTERNAL"
  subnetwork   = google_compute_subnetwork.nodes.id
}

resource "google_compute_disk" "redis" {
  name = "${var.name}-redis-data"
  zone = var.redis_zone
  # Every append waits for this disk.
  type = "pd-ssd"
  size = var.redis_disk_gb

  depends_on = [google_project_service.used]

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_compute_instance" "redis" {
  name                      = "${var.name}-redis"
  machine_type              = var.redis_machine
  zone                      = var.redis_zone
  tags                      = [local.redis_tag]
  allow_stopping_for_update = true

  boot_disk {
    initialize_params {
      image = var.image
      size  = 20
      type  = "pd-balanced"
    }
  }

  attached_disk {
    source      = google_compute_disk.redis.id
    device_name = local.redis_disk
  }

  # No access_config: no public address.
  network_interface {
    subnetwork = google_compute_subnetwork.nodes.id
    network_ip = google_compute_address.redis.address
  }

  service_account {
    email  = google_service_account.redis.email
    scopes = ["cloud-platform"]
  }

  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  metadata = {
    enable-oslogin = "TRUE"
    startup-script = templatefile("${path.module}/redis.sh.tftpl", {
      port      = var.redis_port
      address   = google_compute_address.redis.address
      memory_mb = var.redis_memory_mb
      disk      = local.redis_disk
      secret    = local.secrets.redis_password
    })
  }

  depends_on = [google_secret_manager_secret_iam_member.redis, google_compute_router_nat.nat]
}
