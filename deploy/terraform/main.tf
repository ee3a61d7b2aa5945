# Not applied where it was written: see versions.tf.

resource "google_project_service" "used" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "compute.googleapis.com",
    "dataflow.googleapis.com",
    "storage.googleapis.com",
  ])
  service            = each.key
  disable_on_destroy = false
}

resource "google_artifact_registry_repository" "images" {
  repository_id = "q1net"
  description   = "Images of the workers and of the launcher."
  format        = "DOCKER"
  location      = var.region
  depends_on    = [google_project_service.used]
}

resource "google_storage_bucket" "runs" {
  name                        = var.bucket
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  # Beam warns of soft delete where it keeps temporary files: each would be paid for a week longer.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  lifecycle_rule {
    condition {
      age            = 14
      matches_prefix = ["temp/"]
    }
    action {
      type = "Delete"
    }
  }
}

# The account of the workers, and of the launcher of the template.
resource "google_service_account" "worker" {
  account_id   = "q1net-worker"
  display_name = "q1net: workers of its Dataflow jobs"
}

# On the project there is nothing but what every Dataflow worker needs.
resource "google_project_iam_member" "worker" {
  project = var.project
  role    = "roles/dataflow.worker"
  member  = google_service_account.worker.member
}

resource "google_storage_bucket_iam_member" "worker_writes_runs" {
  bucket = google_storage_bucket.runs.name
  role   = "roles/storage.objectAdmin"
  member = google_service_account.worker.member
}

# Beam and the launcher ask for the bucket itself as well.
resource "google_storage_bucket_iam_member" "worker_sees_bucket" {
  bucket = google_storage_bucket.runs.name
  role   = "roles/storage.legacyBucketReader"
  member = google_service_account.worker.member
}

resource "google_storage_bucket_iam_member" "worker_reads_images" {
  for_each = var.image_buckets
  bucket   = each.key
  role     = "roles/storage.objectViewer"
  member   = google_service_account.worker.member
}

resource "google_artifact_registry_repository_iam_member" "worker_pulls" {
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.worker.member
}

# The launcher, which runs as the same account, starts the job and lets it run as that account.
resource "google_project_iam_member" "launcher" {
  project = var.project
  role    = "roles/dataflow.developer"
  member  = google_service_account.worker.member
}

resource "google_service_account_iam_member" "launcher_acts_as_worker" {
  service_account_id = google_service_account.worker.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.worker.member
}

resource "google_project_iam_member" "people_launch" {
  for_each = var.launchers
  project  = var.project
  role     = "roles/dataflow.developer"
  member   = each.key
}

resource "google_service_account_iam_member" "people_act_as_worker" {
  for_each           = var.launchers
  service_account_id = google_service_account.worker.name
  role               = "roles/iam.serviceAccountUser"
  member             = each.key
}

locals {
  images = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
}

# The Flex Template: what `gcloud dataflow flex-template build` would write.
resource "google_storage_bucket_object" "template" {
  bucket       = google_storage_bucket.runs.name
  name         = "templates/q1net-audit-${var.tag}.json"
  content_type = "application/json"
  content = jsonencode({
    image    = "${local.images}/launcher:${var.tag}"
    metadata = jsondecode(file("${path.module}/../template/metadata.json"))
    sdkInfo  = { language = "PYTHON" }
    defaultEnvironment = {
      serviceAccountEmail = google_service_account.worker.email
      tempLocation        = "gs://${google_storage_bucket.runs.name}/temp"
      stagingLocation     = "gs://${google_storage_bucket.runs.name}/temp/staging"
      maxWorkers          = 20
      diskSizeGb          = 50
    }
  })
}
