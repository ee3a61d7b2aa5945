"""Comparisons on validation images that decide how the product is made."""
