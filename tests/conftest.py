"""Fixtures that more than one test module uses."""

from emulators import gcs_server, pytest_configure, s3_server

__all__ = ["gcs_server", "pytest_configure", "s3_server"]
