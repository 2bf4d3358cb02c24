# The secrets' places and who may read them. Their values are put in by hand (README.md), so that none of them is ever in
# Terraform's state.

locals {
  secrets = {
    master_key     = "${var.name}-master-key"
    redis_password = "${var.name}-redis-password"
    admin_token    = "${var.name}-admin-token"
  }
}

resource "google_secret_manager_secret" "secret" {
  for_each = local.secrets

  secret_id = each.value

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.used]
}

resource "google_service_account" "node" {
  account_id   = "${var.name}-node"
  display_name = "Tidegate nodes"

  depends_on = [google_project_service.used]
}

resource "google_service_account" "redis" {
  account_id   = "${var.name}-redis"
  display_name = "Tidegate's Redis"

  depends_on = [google_project_service.used]
}

resource "google_secret_manager_secret_iam_member" "node" {
  for_each = google_secret_manager_secret.secret

  secret_id = each.value.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.node.member
}

resource "google_secret_manager_secret_iam_member" "redis" {
  secret_id = google_secret_manager_secret.secret["redis_password"].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.redis.member
}

resource "google_storage_bucket_iam_member" "node" {
  bucket = var.release_bucket
  role   = "roles/storage.objectViewer"
  member = google_service_account.node.member
}

resource "google_project_iam_member" "logs" {
  for_each = {
    node  = google_service_account.node.member
    redis = google_service_account.redis.member
  }

  project = var.project
  role    = "roles/logging.logWriter"
  member  = each.value
}
