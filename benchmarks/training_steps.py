"""Patches a second of CPU time that a training step of q1net-k8 takes, by backend: `make bench-training-steps`.

Every line is a process of its own with one thread, on the same batch, so that readers of patches do not count. Compare
the ratios: absolute figures drift with the machine. Backends that are not installed are named as such.
"""

import os
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np

# What a line is called, Keras's backend, its precision, and whether batch normalisation is folded away.
RECIPES = {
    "tensorflow, float32": ("tensorflow", "float32", False),
    "tensorflow, bfloat16": ("tensorflow", "mixed_bfloat16", False),
    "jax, float32": ("jax", "float32", False),
    "torch, float32": ("torch", "float32", False),
    "torch, bfloat16, folded": ("torch", "mixed_bfloat16", True),
}
BATCH = 256
WARM_UP = 3
STEPS = 30


def random_batch() -> tuple[np.ndarray, np.ndarray]:
    """Noise and levels: a step costs the same whatever the patches are."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (BATCH, 16, 16, 3), np.uint8), rng.uniform(1, 100, BATCH).astype(np.float32)


def keras_rate(precision: str) -> float:
    """Patches a second of CPU time of Keras's own training step."""
    import keras

    from training.config import preset
    from training.trainer import new_model

    keras.config.set_dtype_policy(precision)
    model = new_model(preset("cpu", batch_size=BATCH, optimizer="adam"))
    batch = random_batch()
    for _ in range(WARM_UP):
        model.train_on_batch(*batch)
    begun = time.process_time()
    for _ in range(STEPS):
        model.train_on_batch(*batch)
    return STEPS * BATCH / (time.process_time() - begun)


def folded_rate() -> float:
    """Patches a second of CPU time of training.finetune's step."""
    import torch

    from q1net_core.network.predictor import load_model
    from q1net_core.network.weights import read_weights
    from training.finetune import Folded, fold, train_step

    torch.set_num_threads(1)
    network = Folded(fold(load_model(read_weights("q1net-k8"))))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-6, fused=True)
    batch = random_batch()
    for _ in range(WARM_UP):
        train_step(network, optimizer, batch, 0.5)
    begun = time.process_time()
    for _ in range(STEPS):
        train_step(network, optimizer, batch, 0.5)
    return STEPS * BATCH / (time.process_time() - begun)


def measure(name: str) -> str:
    """One line of the table, measured in another process."""
    backend, _, _ = RECIPES[name]
    if find_spec(backend) is None:
        return f"{name:<28}{'not installed':>16}"
    environment = os.environ | {
        "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "TF_CPP_MIN_LOG_LEVEL": "2",
    }  # fmt: skip
    command = [sys.executable, __file__, name]
    printed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return f"{name:<28}{float(printed.split()[-1]):>16,.0f}"


def main() -> None:
    """Print the table, or with a recipe's name, in the process that is for it, its rate alone."""
    if len(sys.argv) > 1:
        _, precision, folded = RECIPES[sys.argv[1]]
        print(folded_rate() if folded else keras_rate(precision))
        return
    print(f"{'a step of ' + str(BATCH) + ' patches':<28}{'patches/CPU-s':>16}")
    for name in RECIPES:
        print(measure(name), flush=True)


if __name__ == "__main__":
    main()
