output "address" {
  description = "The load balancer's address."
  value       = google_compute_global_address.address.address
}

output "outgoing_address" {
  description = "Where connections to the databases come from."
  value       = google_compute_address.outgoing.address
}

output "secrets" {
  description = "Secrets that need a value."
  value       = values(local.secrets)
}

output "subnetwork" {
  description = "Where nodes are."
  value       = google_compute_subnetwork.nodes.id
}

output "node_tag" {
  description = "What the firewall knows nodes by."
  value       = local.node_tag
}

output "node_service_account" {
  description = "Whom nodes act as."
  value       = google_service_account.node.email
}

output "node_metadata" {
  description = "What makes a machine a node."
  value       = local.node_metadata

  # A node that starts before it may read secrets, or before it can get out, would only wait.
  depends_on = [google_secret_manager_secret_iam_member.node, google_storage_bucket_iam_member.node, google_compute_router_nat.nat]
}

output "image" {
  description = "The operating system."
  value       = var.image
}

output "port" {
  description = "The producers' port."
  value       = var.port
}

output "port_name" {
  description = "What the load balancer calls it."
  value       = local.port_name
}
