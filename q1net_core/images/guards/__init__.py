"""What each format's decoder must be protected from, and how: one module per format."""
