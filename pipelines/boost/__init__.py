"""`q1net boost`: residual patterns on top of a codec, and what they gain."""
