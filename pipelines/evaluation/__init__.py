"""`q1net evaluate`: errors on lossless images that are compressed at known levels."""
