# What a node is made of, in both variants: tags, and the metadata whose start-up script installs the program and runs
# deploy/tidegate.service.

locals {
  node_tag   = "${var.name}-node"
  redis_tag  = "${var.name}-redis"
  redis_disk = "redis-data"
  port_name  = "producers"

  node_metadata = {
    enable-oslogin = "TRUE"
    startup-script = templatefile("${path.module}/node.sh.tftpl", {
      unit           = file("${path.module}/../../tidegate.service")
      listen         = "0.0.0.0:${var.port}"
      admin          = "0.0.0.0:${var.admin_port}"
      redis          = "${google_compute_address.redis.address}:${var.redis_port}"
      release        = "gs://${var.release_bucket}/${var.release_object}"
      sha256         = var.release_sha256
      master_key     = local.secrets.master_key
      redis_password = local.secrets.redis_password
      admin_token    = local.secrets.admin_token
    })
  }
}
