"""`q1net shards`: lossless images to training shards of patches at every level."""
