"""The lattice study's cases: the same at every call, with their truth, from the places that were asked for."""

import numpy as np
from pictures import load_original

from q1net_core.lattice.estimate import estimate_lattice
from training.studies.lattice import judge
from training.studies.lattice_cases import block_ranges, choose_window, draw_cases, make_cases, make_crops

PICTURE = load_original("camera/airplane.png")[:256, :256]


def test_cases_are_the_same_at_every_call_and_mostly_answered_right() -> None:
    cases, again = (list(draw_cases([PICTURE], 1, make_cases)) for _ in range(2))
    assert [case.kind for case in cases] == [case.kind for case in again]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(cases, again, strict=True))
    assert len({case.kind for case in cases}) == len(cases)
    outcomes = {case.kind: judge(case, estimate_lattice(case.pixels)) for case in cases}
    for kind in ("decoded", "photoshop", "mozjpeg", "custom", "twice", "256 pixels, any"):
        assert outcomes[kind].exact, kind
    for kind in ("never compressed", "resized", "noise", "webp"):
        assert not outcomes[kind].accepted, kind


def test_plain_windows_are_the_plainest() -> None:
    rng = np.random.default_rng(0)
    pixels = np.random.default_rng(1).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    pixels[200:300, 120:220] = 77
    for _ in range(5):
        top, left = choose_window(rng, pixels, 64, plain=True)
        window = block_ranges(pixels[top : top + 64, left : left + 64])
        assert (window == 0).mean() > 0.5
    assert {case.pixels.shape[0] for case in make_crops(rng, PICTURE)} == {256, 128, 64}
