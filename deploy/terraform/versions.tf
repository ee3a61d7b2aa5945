# Not applied where it was written: no cloud and no provider could be reached there. tests/deploy/test_terraform.py
# parses it, and checks names, roles and format; a `terraform validate` needs the provider.

terraform {
  required_version = ">= 1.9"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.0"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}
