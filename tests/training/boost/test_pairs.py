import numpy as np
import pytest

from q1net_core.boost.bases import BASES
from training.boost.pairs import draw_level


@pytest.mark.parametrize("name", BASES)
def test_levels_are_of_the_trained_range_and_low_rates_as_many_as_high_ones(name: str) -> None:
    base, rng = BASES[name], np.random.default_rng(0)
    levels = np.array([draw_level(base, rng) for _ in range(2000)])
    worst, best = base.trained
    assert levels.min() >= min(base.trained)
    assert levels.max() <= max(base.trained)
    middle = (worst + best) / 2 if best < worst else np.sqrt(worst * best)
    assert 0.45 < np.mean(levels < middle) < 0.55
