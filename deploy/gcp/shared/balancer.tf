# An external Application Load Balancer. The global one: its certificate renews itself, one address serves everywhere, and
# requests reach the nodes from the two probe ranges, so that one firewall rule does. The regional one would want a subnet for
# proxies and another kind of certificate, and is only needed where data may not pass through proxies abroad.

resource "google_compute_global_address" "address" {
  name = var.name

  depends_on = [google_project_service.used]
}

resource "google_compute_health_check" "ready" {
  name                = "${var.name}-ready"
  check_interval_sec  = 5
  timeout_sec         = 5
  healthy_threshold   = 2
  unhealthy_threshold = 2

  http_health_check {
    port         = var.port
    request_path = "/healthz/ready"
  }

  log_config {
    enable = true
  }

  depends_on = [google_project_service.used]
}

resource "google_compute_backend_service" "nodes" {
  name                  = var.name
  load_balancing_scheme = "EXTERNAL_MANAGED"
  protocol              = "HTTP"
  port_name             = local.port_name
  health_checks         = [google_compute_health_check.ready.id]
  locality_lb_policy    = "LEAST_REQUEST"
  # Longer than a node's longest answer: 30 s for a slow body, 2 s for Redis.
  timeout_sec = 60
  # What a node that leaves has left for its requests: as long as they may take, and longer than it needs to stop.
  connection_draining_timeout_sec = 60

  dynamic "backend" {
    for_each = var.groups
    content {
      group                 = backend.value
      balancing_mode        = "RATE"
      max_rate_per_instance = var.max_requests_per_s
    }
  }

  log_config {
    enable      = true
    sample_rate = 0.01
  }
}

resource "google_compute_managed_ssl_certificate" "certificate" {
  name = var.name

  managed {
    domains = [var.domain]
  }

  depends_on = [google_project_service.used]
}

resource "google_compute_ssl_policy" "modern" {
  name            = var.name
  profile         = "MODERN"
  min_tls_version = "TLS_1_2"

  depends_on = [google_project_service.used]
}

resource "google_compute_url_map" "nodes" {
  name            = var.name
  default_service = google_compute_backend_service.nodes.id
}

resource "google_compute_target_https_proxy" "https" {
  name             = var.name
  url_map          = google_compute_url_map.nodes.id
  ssl_certificates = [google_compute_managed_ssl_certificate.certificate.id]
  ssl_policy       = google_compute_ssl_policy.modern.id
}

resource "google_compute_global_forwarding_rule" "https" {
  name                  = "${var.name}-https"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  ip_address            = google_compute_global_address.address.id
  port_range            = "443"
  target                = google_compute_target_https_proxy.https.id
}

# Whoever comes by HTTP is sent to HTTPS.
resource "google_compute_url_map" "redirect" {
  name = "${var.name}-redirect"

  default_url_redirect {
    https_redirect         = true
    redirect_response_code = "PERMANENT_REDIRECT"
    strip_query            = false
  }

  depends_on = [google_project_service.used]
}

resource "google_compute_target_http_proxy" "redirect" {
  name    = "${var.name}-redirect"
  url_map = google_compute_url_map.redirect.id
}

resource "google_compute_global_forwarding_rule" "redirect" {
  name                  = "${var.name}-http"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  ip_address            = google_compute_global_address.address.id
  port_range            = "80"
  target                = google_compute_target_http_proxy.redirect.id
}
