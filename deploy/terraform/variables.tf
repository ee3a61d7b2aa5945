# Not applied where it was written: see versions.tf.

variable "project" {
  description = "Project that runs the jobs and pays for them."
  type        = string
}

variable "region" {
  description = "Region of jobs, bucket and registry."
  type        = string
  default     = "europe-west4"
}

variable "bucket" {
  description = "Name of the bucket to make, for runs, temporary files and the template; unique in the world."
  type        = string
}

variable "image_buckets" {
  description = "Names of existing buckets whose images are audited; the workers may read them."
  type        = set(string)
  default     = []
}

variable "launchers" {
  description = "Who may start jobs as the workers' account, such as group:archive@example.org."
  type        = set(string)
  default     = []
}

variable "tag" {
  description = "Tag of the images, as cloudbuild.yaml gives it: VERSION-beamVERSION-pyVERSION."
  type        = string
}
