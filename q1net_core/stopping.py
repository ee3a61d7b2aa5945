"""When enough patches of an image were looked at: `--patches auto`.

Layer: numpy only; no keras, no beam, no pyarrow.

Patches are looked at in rounds, in an order of which every beginning is spread over the image (patches.spread_order).
Bounds were chosen on validation pictures: `python -m training.studies.patches` prints what each costs and saves.
"""

from dataclasses import dataclass

from q1net_core.records import Estimate, LatticeEstimate, Stop

# Patches after which it is judged whether they are enough; after the last of these all that there are.
ROUNDS = (16, 32, 64, 128)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How near, in levels: ``agreement`` of network and lattice, ``width`` of the network's own interval."""

    agreement: float
    width: float


BOUNDS = Bounds(agreement=2.0, width=10.0)


def find_stop(estimate: Estimate, lattice: LatticeEstimate, bounds: Bounds = BOUNDS) -> Stop | None:
    """Why the patches of an estimate are enough; None where they are not.

    Where the lattice accepts, its answer is the image's, and the network only has to confirm it. Elsewhere the network
    has to be sure by itself.
    """
    if estimate.quality is None:
        return None
    if lattice.quality is not None:
        return Stop.AGREES if abs(estimate.quality - lattice.quality) <= bounds.agreement else None
    if estimate.low is not None and estimate.high is not None and estimate.high - estimate.low <= bounds.width:
        return Stop.NARROW
    return None
