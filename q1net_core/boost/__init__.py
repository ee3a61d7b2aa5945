"""Residual patterns on top of a codec: base streams, post-filter, patterns, and the file that holds them."""
