"""Encoded bytes to pixels, within limits, whatever the bytes are."""
