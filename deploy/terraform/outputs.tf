# Not applied where it was written: see versions.tf.

output "template" {
  description = "For --template-file-gcs-location."
  value       = "gs://${google_storage_bucket.runs.name}/${google_storage_bucket_object.template.name}"
}

output "worker_account" {
  description = "For --service_account_email."
  value       = google_service_account.worker.email
}

output "cpu_worker" {
  description = "For the parameter sdk_container_image without accelerator."
  value       = "${local.images}/cpu-worker:${var.tag}"
}

output "gpu_worker" {
  description = "For the parameter sdk_container_image with an accelerator."
  value       = "${local.images}/gpu-worker:${var.tag}"
}
