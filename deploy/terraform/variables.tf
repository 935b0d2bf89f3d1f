variable "bucket" {
  description = "The bucket of [storage] url. It must exist."
  type        = string
}

variable "name" {
  description = "The name of the role of the jobs, of the queue and of the rule."
  type        = string
  default     = "lyftlearn-jobs"
}

variable "secrets" {
  description = "ARNs of the secrets that jobs may read, as patterns."
  type        = list(string)
  default     = []
}

variable "notebooks" {
  description = "Whether sessions of Systems Manager may forward the ports of notebooks."
  type        = bool
  default     = false
}
