"""Presets and impossible configurations."""

import pytest

from q1net_core.errors import ConfigError
from training.config import PRESETS, preset


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "resnet"}, "variant is 'resnet'; expected one of q1net-k8"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd'; expected adam or muon"),
        ({"batch_size": 30}, "batch_size is 30; expected a positive multiple"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"steps": 2}, "steps is 2; expected more than the 2 warm-up steps"),
        ({"validation_every": 0}, "validation_every is 0"),
        ({"validation_every": 5}, "validation_every is 5 and steps is 12; expected a multiple"),
        ({"levels_per_location": 0}, "batch_size is 32; expected a positive multiple of 0"),
        ({"batch_growth": ((4, 33),)}, "batch_size is 33; expected a positive multiple of 16"),
        ({"batch_growth": ((4, 64), (4, 128))}, r"steps \[4, 4\]; expected ascending steps above 0"),
        ({"batch_growth": ((0, 64),)}, r"steps \[0\]; expected ascending"),
        ({"ema_momentum": 1.0}, "ema_momentum is 1.0; expected a number between 0 and 1, or None"),
        ({"patience": 0}, "patience is 0; expected at least 1 validation, or None"),
    ],
)
def test_impossible_configuration_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        preset("smoke", **changes)


def test_unknown_preset_lists_the_presets() -> None:
    with pytest.raises(ConfigError, match=f"'huge'; expected one of {', '.join(PRESETS)}"):
        preset("huge")


def test_gpu_preset_sees_a_corpus_of_five_million_patches_tens_of_times() -> None:
    gpu = PRESETS["gpu"]
    assert gpu.patches_until(gpu.steps) > 20 * 5_000_000
    sizes = [gpu.batch_size_at(step) for step in range(gpu.steps)]
    assert sizes == sorted(sizes)
    assert sizes[-1] >= 4 * sizes[0]
    assert gpu.patches_until(gpu.steps) == sum(sizes)
    assert gpu.ema_momentum
    assert gpu.patience
