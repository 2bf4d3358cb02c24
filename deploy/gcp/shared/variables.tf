variable "project" {
  description = "The project that all of this is made in."
  type        = string
}

variable "region" {
  description = "The region of nodes and Redis."
  type        = string
}

variable "redis_zone" {
  description = "The zone of Redis and its disk."
  type        = string
}

variable "name" {
  description = "What every resource's name begins with."
  type        = string
}

variable "domain" {
  description = "The name that producers use."
  type        = string
}

variable "groups" {
  description = "The nodes' instance groups, each under a name of its own."
  type        = map(string)
}

variable "port" {
  description = "The producers' listener of a node (setting `listen`)."
  type        = number
  default     = 8080
}

variable "admin_port" {
  description = "The operations listener of a node (setting `admin`)."
  type        = number
  default     = 9090
}

variable "redis_port" {
  description = "Redis's port."
  type        = number
  default     = 6379
}

variable "network_range" {
  description = "The addresses of nodes and Redis."
  type        = string
  default     = "10.80.0.0/24"
}

variable "image" {
  description = "The operating system of all machines: Debian 12, whose Redis is 7.0 and whose systemd is 252."
  type        = string
  default     = "debian-cloud/debian-12"
}

variable "release_bucket" {
  description = "The bucket that holds the program."
  type        = string
}

variable "release_object" {
  description = "The program's object in that bucket."
  type        = string
}

variable "release_sha256" {
  description = "The program's SHA-256."
  type        = string
}

variable "redis_machine" {
  description = "Machine type of Redis."
  type        = string
}

variable "redis_memory_mb" {
  description = "Redis's maxmemory."
  type        = number
}

variable "redis_disk_gb" {
  description = "Redis's disk."
  type        = number
}

variable "max_requests_per_s" {
  description = "Requests per second that the balancer gives one node before it prefers another zone. It is no limit."
  type        = number
  default     = 2000
}

variable "ssh_through_iap" {
  description = "Whether SSH is let in from Identity-Aware Proxy."
  type        = bool
}

variable "admin_ranges" {
  description = "Addresses inside the network that may reach the operations listener."
  type        = list(string)
}
