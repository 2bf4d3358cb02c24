# A network of its own: nothing has a public address but the load balancer and the way out.

resource "google_project_service" "used" {
  for_each = toset(["compute.googleapis.com", "secretmanager.googleapis.com", "iam.googleapis.com", "storage.googleapis.com"])

  project            = var.project
  service            = each.key
  disable_on_destroy = false
}

resource "google_compute_network" "network" {
  name                    = var.name
  auto_create_subnetworks = false

  depends_on = [google_project_service.used]
}

resource "google_compute_subnetwork" "nodes" {
  name          = "${var.name}-nodes"
  network       = google_compute_network.network.id
  region        = var.region
  ip_cidr_range = var.network_range
  # Secrets and the program are fetched from Google's own addresses without going through Cloud NAT.
  private_ip_google_access = true
}

# The way out, to databases and Debian's packages. The address is reserved, so that the databases' firewalls can name it.
resource "google_compute_address" "outgoing" {
  name   = "${var.name}-outgoing"
  region = var.region

  depends_on = [google_project_service.used]
}

resource "google_compute_router" "router" {
  name    = "${var.name}-router"
  network = google_compute_network.network.id
  region  = var.region
}

resource "google_compute_router_nat" "nat" {
  name                               = "${var.name}-nat"
  router                             = google_compute_router.router.name
  region                             = var.region
  nat_ip_allocate_option             = "MANUAL_ONLY"
  nat_ips                            = [google_compute_address.outgoing.self_link]
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  subnetwork {
    name                    = google_compute_subnetwork.nodes.id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}

# Health checks and requests both come from these two ranges, which Google publishes, and from nowhere else.
resource "google_compute_firewall" "balancer" {
  name          = "${var.name}-balancer"
  network       = google_compute_network.network.id
  direction     = "INGRESS"
  source_ranges = ["35.191.0.0/16", "130.211.0.0/22"]
  target_tags   = [local.node_tag]

  allow {
    protocol = "tcp"
    ports    = [tostring(var.port)]
  }
}

resource "google_compute_firewall" "redis" {
  name        = "${var.name}-redis"
  network     = google_compute_network.network.id
  direction   = "INGRESS"
  source_tags = [local.node_tag]
  target_tags = [local.redis_tag]

  allow {
    protocol = "tcp"
    ports    = [tostring(var.redis_port)]
  }
}

resource "google_compute_firewall" "admin" {
  count = length(var.admin_ranges) > 0 ? 1 : 0

  name          = "${var.name}-admin"
  network       = google_compute_network.network.id
  direction     = "INGRESS"
  source_ranges = var.admin_ranges
  target_tags   = [local.node_tag]

  allow {
    protocol = "tcp"
    ports    = [tostring(var.admin_port)]
  }
}

resource "google_compute_firewall" "ssh" {
  count = var.ssh_through_iap ? 1 : 0

  name          = "${var.name}-ssh"
  network       = google_compute_network.network.id
  direction     = "INGRESS"
  source_ranges = ["35.235.240.0/20"]
  target_tags   = [local.node_tag, local.redis_tag]

  allow {
    protocol = "tcp"
    ports    = ["22"]
  }
}
