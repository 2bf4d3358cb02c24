output "address" {
  description = "Where the A record of `domain` must lead."
  value       = module.shared.address
}

output "outgoing_address" {
  description = "Where all connections to the databases come from: let it through their firewalls."
  value       = module.shared.outgoing_address
}

output "secrets" {
  description = "Secrets that need a value before the nodes can start; see README.md."
  value       = module.shared.secrets
}

output "nodes" {
  description = "The nodes, by zone."
  value       = { for zone, node in google_compute_instance.node : zone => node.name }
}
