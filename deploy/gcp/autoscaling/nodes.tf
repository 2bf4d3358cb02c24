# Nodes by template: as many as the load needs, healed when their event loop stands still, replaced one by one when the
# template changes. Nodes keep nothing of their own, so that any of them may go at any time.

resource "google_compute_instance_template" "node" {
  name_prefix  = "${var.name}-node-"
  machine_type = var.node_machine
  region       = var.region
  tags         = [module.shared.node_tag]

  disk {
    source_image = module.shared.image
    auto_delete  = true
    boot         = true
    disk_size_gb = 20
    disk_type    = "pd-balanced"
  }

  # No access_config: no public address.
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

  lifecycle {
    create_before_destroy = true
  }
}

# Live, not ready: a Redis that is away is no reason to build nodes anew. Slower than the balancer's check, and than systemd's
# watchdog, which comes first.
resource "google_compute_health_check" "live" {
  name                = "${var.name}-live"
  check_interval_sec  = 10
  timeout_sec         = 5
  healthy_threshold   = 1
  unhealthy_threshold = 6

  http_health_check {
    port         = module.shared.port
    request_path = "/healthz/live"
  }
}

resource "google_compute_region_instance_group_manager" "nodes" {
  name                      = "${var.name}-nodes"
  region                    = var.region
  base_instance_name        = "${var.name}-node"
  distribution_policy_zones = var.zones

  version {
    instance_template = google_compute_instance_template.node.self_link_unique
  }

  named_port {
    name = module.shared.port_name
    port = module.shared.port
  }

  auto_healing_policies {
    health_check = google_compute_health_check.live.id
    # A machine boots, fetches the program and starts it within two minutes or so; before that nobody may judge it.
    initial_delay_sec = 300
  }

  # Never fewer than there were: a new node must be healthy before an old one is drained and goes.
  update_policy {
    type                         = "PROACTIVE"
    minimal_action               = "REPLACE"
    max_surge_fixed              = length(var.zones)
    max_unavailable_fixed        = 0
    instance_redistribution_type = "PROACTIVE"
  }
}

resource "google_compute_region_autoscaler" "nodes" {
  name   = "${var.name}-nodes"
  region = var.region
  target = google_compute_region_instance_group_manager.nodes.id

  autoscaling_policy {
    min_replicas    = var.least_nodes
    max_replicas    = var.most_nodes
    cooldown_period = 120

    cpu_utilization {
      target = 0.6
    }

    # Each node that goes hands its destinations over: slowly, then.
    scale_in_control {
      time_window_sec = 600
      max_scaled_in_replicas {
        fixed = 1
      }
    }
  }
}
