"""The plot of a training shows the curves its history has."""

from io import BytesIO

import numpy as np
from PIL import Image

from training.plots import plot_history


def draw(*rows: dict[str, float | None]) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(plot_history(rows)), formats=("PNG",)).convert("RGB"))


def test_every_further_validation_and_every_curve_shows() -> None:
    first = {"step": 1, "loss": 30.0, "val_patch_mae": 25.0, "val_mae": None}
    second = {"step": 2, "loss": 10.0, "val_patch_mae": 9.0, "val_mae": 4.0}
    third = {"step": 3, "loss": 8.0, "val_patch_mae": 7.0, "val_mae": 3.0}
    one, two, three = draw(first), draw(first, second), draw(first, second, third)
    assert one.shape == two.shape == three.shape
    assert not np.array_equal(one, two)
    assert not np.array_equal(two, three)
    altered = draw(*(row | {"val_noise_mae": 5.0} for row in (first, second, third)))
    half = three.shape[1] // 2
    assert not np.array_equal(altered[:, half:], three[:, half:])
    # The error of images belongs into the right panel.
    assert np.array_equal(altered[:, : half - 100], three[:, : half - 100])
