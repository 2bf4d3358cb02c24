# Two nodes, one in each zone. An unmanaged instance group lies in one zone, so there is one for each; the load balancer
# sees both.

resource "google_compute_instance" "node" {
  for_each = toset(var.zones)

  name                      = "${var.name}-node-${each.key}"
  machine_type              = var.node_machine
  zone                      = each.key
  tags                      = [module.shared.node_tag]
  allow_stopping_for_update = true

  boot_disk {
    initialize_params {
      image = module.shared.image
      size  = 20
      type  = "pd-balanced"
    }
  }

  # No access_config: no public address. Outgoing connections go through Cloud NAT.
  network_interface {
    subnetwork = module.shared.subnetwork
  }

  service_account {
    email  = module.shared.node_service_account
    scopes = ["cloud-platform"]
  }

  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  metadata = module.shared.node_metadata
}

resource "google_compute_instance_group" "nodes" {
  for_each = google_compute_instance.node

  name      = "${var.name}-nodes-${each.key}"
  zone      = each.value.zone
  instances = [each.value.self_link]

  named_port {
    name = module.shared.port_name
    port = module.shared.port
  }
}
