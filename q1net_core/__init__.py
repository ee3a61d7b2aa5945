"""q1net_core: how hard an image was compressed, from its pixels. Pure numpy; importing it loads no TensorFlow."""

__version__ = "0.1.0"
