"""Batches and validation images, from photographs or from shards."""
