"""Training of Q1Net on lossless photographs. Keras 3, backend-neutral; imports q1net_core, never pipelines."""
