"""`--patches auto`: patches in spread order, in rounds, until the network agrees with the lattice or is sure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from q1net_core.estimator import predict_in_rounds
from q1net_core.records import (
    Estimate,
    FusionRule,
    ImageInfo,
    ImagePatches,
    IntervalTable,
    LatticeEstimate,
    ListedImage,
    Stop,
)
from q1net_core.stopping import BOUNDS, ROUNDS, find_stop

ACCEPTED, ABSTAINED = LatticeEstimate(quality=60.0), LatticeEstimate(evidence=0.1)


def estimate(quality: float | None, width: float | None) -> Estimate:
    ends = (None, None) if quality is None or width is None else (quality - width / 2, quality + width / 2)
    return Estimate(quality, 99.0, 1.0, 16, 16, *ends)


@pytest.mark.parametrize(
    ("found", "lattice", "stop"),
    [
        (estimate(60 + BOUNDS.agreement, 50), ACCEPTED, Stop.AGREES),
        (estimate(60 - BOUNDS.agreement, None), ACCEPTED, Stop.AGREES),
        (estimate(60 + BOUNDS.agreement + 0.1, 0), ACCEPTED, None),
        (estimate(None, None), ACCEPTED, None),
        (estimate(30, BOUNDS.width), ABSTAINED, Stop.NARROW),
        (estimate(30, BOUNDS.width + 0.1), ABSTAINED, None),
        (estimate(30, None), ABSTAINED, None),
        (estimate(None, None), ABSTAINED, None),
    ],
)
def test_enough_is_agreement_where_the_lattice_answers_and_a_narrow_interval_elsewhere(
    found: Estimate, lattice: LatticeEstimate, stop: Stop | None
) -> None:
    assert find_stop(found, lattice) is stop


class Told:
    """A model that answers what the patches' first value says, always sure; keeps the sizes of its calls."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def predict(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.sizes.append(len(samples))
        return samples[:, 0, 0, 0].astype(np.float32), np.full(len(samples), 99, np.float32)


def make_item(values: list[int], lattice: LatticeEstimate) -> ImagePatches:
    patches = np.zeros((len(values), 16, 16, 3), np.uint8)
    patches[:, 0, 0, 0] = values
    return ImagePatches(ListedImage("a"), ImageInfo(), lattice, patches)


# An interval of a level from 64 patches on, of 50 before.
RULE = FusionRule(
    "paper", 50.0, (),
    (IntervalTable(64, (), ((),), ((-0.5,),), ((0.5,),)), IntervalTable(4, (), ((),), ((-25.0,),), ((25.0,),))),
)  # fmt: skip


@pytest.mark.parametrize(
    ("values", "lattice", "sizes", "stop"),
    [
        ([60] * 256, ACCEPTED, [16], Stop.AGREES),
        ([90] * 20 + [60] * 236, ACCEPTED, [16, 16, 32], Stop.AGREES),
        ([90] * 256, ACCEPTED, [16, 16, 32, 64, 128], Stop.ALL),
        ([30] * 256, ABSTAINED, [16, 16, 32], Stop.NARROW),
        ([30] * 40, ABSTAINED, [16, 16, 8], Stop.ALL),
        ([60] * 16, ACCEPTED, [16], Stop.ALL),
        ([60], ACCEPTED, [1], Stop.ALL),
    ],
)
def test_rounds_end_where_it_is_enough(
    values: list[int], lattice: LatticeEstimate, sizes: list[int], stop: Stop
) -> None:
    model = Told()
    (found,) = predict_in_rounds(model, [make_item(values, lattice)], RULE)
    assert (model.sizes, found.stop) == (sizes, stop)
    assert found.quality.tolist() == values[: sum(sizes)]
    assert len(found.confidence) == sum(sizes)


@given(st.lists(st.sampled_from([30, 59, 60, 61, 90]), min_size=1, max_size=150), st.booleans())
def test_an_images_rounds_do_not_depend_on_its_batch(values: list[int], accepted: bool) -> None:
    item = make_item(values, ACCEPTED if accepted else ABSTAINED)
    other = make_item([60] * 256, ACCEPTED)
    (alone,) = predict_in_rounds(Told(), [item], RULE)
    beside = predict_in_rounds(Told(), [other, item, other], RULE)[1]
    assert np.array_equal(alone.quality, beside.quality)
    assert (alone.stop, len(alone.quality) in {*ROUNDS, len(values)}) == (beside.stop, True)
