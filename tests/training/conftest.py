"""Which tests of training are collected."""

import os

# TensorFlow and PyTorch in one process end in a segmentation fault. `make test-all` runs these in their own process.
collect_ignore = [] if os.environ.get("KERAS_BACKEND") == "torch" else ["test_finetune.py", "test_widths.py"]
