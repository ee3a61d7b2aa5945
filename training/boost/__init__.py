"""Training of post-filters and patterns."""
