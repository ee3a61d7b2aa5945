"""Training of the networks, on lossless photographs or on shards.

Layer: Keras 3, any backend; imports q1net_core, never pipelines.
"""
