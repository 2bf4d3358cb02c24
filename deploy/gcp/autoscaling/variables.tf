variable "project" {
  description = "The project that all of this is made in."
  type        = string
}

variable "region" {
  description = "The region of nodes and Redis: the one that the databases are nearest to."
  type        = string
  default     = "asia-southeast2"
}

variable "zones" {
  description = "The zones that nodes are spread over, two or more. Redis is in the first."
  type        = list(string)
  default     = ["asia-southeast2-a", "asia-southeast2-b", "asia-southeast2-c"]

  validation {
    condition     = length(distinct(var.zones)) == length(var.zones) && length(var.zones) >= 2
    error_message = "Give two or more different zones."
  }
}

variable "name" {
  description = "What every resource's name begins with."
  type        = string
  default     = "tidegate"
}

variable "domain" {
  description = "The name that producers use. Its A record must lead to the output `address`; only then does the certificate become active."
  type        = string
}

variable "release_bucket" {
  description = "The bucket that holds the program."
  type        = string
}

variable "release_object" {
  description = "The program's object in that bucket, such as tidegate-0.1.0-x86_64-linux."
  type        = string
}

variable "release_sha256" {
  description = "The program's SHA-256; a node starts nothing else."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.release_sha256))
    error_message = "Give the 64 hexadecimal digits that sha256sum prints."
  }
}

variable "node_machine" {
  description = "Machine type of a node."
  type        = string
  default     = "e2-standard-2"
}

variable "least_nodes" {
  description = "Nodes that run in any case; two or more, so that one may go."
  type        = number
  default     = 2

  validation {
    condition     = var.least_nodes >= 2
    error_message = "One node alone is no redundancy: give 2 or more."
  }
}

variable "most_nodes" {
  description = "Nodes that run at most."
  type        = number
  default     = 6
}

variable "redis_machine" {
  description = "Machine type of Redis; twice `redis_memory_mb` or more."
  type        = string
  default     = "e2-standard-2"
}

variable "redis_memory_mb" {
  description = "Redis's maxmemory: half of the machine's, the rest is for rewriting its file."
  type        = number
  default     = 4096
}

variable "redis_disk_gb" {
  description = "Redis's disk: four times `redis_memory_mb` or more, since a rewrite needs room for the old file and the new one."
  type        = number
  default     = 50
}

variable "ssh_through_iap" {
  description = "Whether SSH is let in from Identity-Aware Proxy (35.235.240.0/20), for those who have the role for it."
  type        = bool
  default     = false
}

variable "admin_ranges" {
  description = "Addresses inside the network that may reach the operations listener, such as a Prometheus server's; it wants the token all the same."
  type        = list(string)
  default     = []
}
