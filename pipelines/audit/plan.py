"""`q1net audit --plan`: how many images there are, what a few of them take here, what all of them would take elsewhere.

Nothing is written.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipelines import text
from pipelines.audit.prices import AS_OF, MACHINES, SHUFFLED_GB
from pipelines.inputs.members import read_input
from pipelines.transforms import READS_AT_A_TIME
from q1net_core.estimator import fuse_predictions, kinds_of, load_network, predict_patches, read_image, sample_image
from q1net_core.records import ImageRecord, ListedImage
from q1net_core.settings import EstimatorSettings, PinnedWeights

SAMPLED = 32


@dataclass(slots=True)
class Plan:
    """What was counted and measured. Seconds are sums over the sampled images, of processor time but for ``read``.

    ``sized`` images have a known size, ``bytes`` together.
    """

    images: int = 0
    sized: int = 0
    bytes: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    read: float = 0.0
    sample: float = 0.0
    predict: float = 0.0
    shuffled: int = 0

    @property
    def seconds(self) -> float:
        """Of one core for one image; reads of a worker overlap, so that only a slow store shows."""
        return max(self.sample + self.predict, self.read / READS_AT_A_TIME) / max(1, sum(self.statuses.values()))


def make_plan(images: Iterable[ListedImage], settings: EstimatorSettings, weights: Mapping[str, PinnedWeights]) -> Plan:
    """Count all images and estimate some of them, drawn evenly and always the same."""
    plan, draw = Plan(), random.Random(0)
    drawn: list[ListedImage] = []
    for image in images:
        plan.images += 1
        if image.size_bytes is not None:
            plan.sized += 1
            plan.bytes += image.size_bytes
        if len(drawn) < SAMPLED:
            drawn.append(image)
        elif (place := draw.randrange(plan.images)) < SAMPLED:
            drawn[place] = image
    for pinned in weights.values():
        load_network(pinned)
    for image in drawn:
        plan.statuses[time_image(image, settings, weights, plan).status.value] += 1
    return plan


def time_image(
    image: ListedImage, settings: EstimatorSettings, weights: Mapping[str, PinnedWeights], plan: Plan
) -> ImageRecord:
    """Estimate one image and add its times to the plan."""
    start = time.perf_counter()
    encoded = read_image(image, settings.limits, read_input)
    plan.read += time.perf_counter() - start
    if isinstance(encoded, ImageRecord):
        return encoded
    start = time.process_time()
    sampled = sample_image(image, encoded, settings, kinds_of(weights))
    plan.sample += time.process_time() - start
    if isinstance(sampled, ImageRecord):
        return sampled
    plan.shuffled += sampled.patches.nbytes
    start = time.process_time()
    pinned = weights[sampled.weights or ""]
    record = fuse_predictions(predict_patches(load_network(pinned), [sampled])[0], pinned)
    plan.predict += time.process_time() - start
    return record


def render_plan(plan: Plan) -> str:
    """The plan as text: what there is, what an image takes, and a table of machines."""
    sampled = sum(plan.statuses.values())
    size = f"{plan.bytes / 1e9:,.3f} GB" + (f" in {plan.sized} of known size" if plan.sized < plan.images else "")
    cores = len(os.sched_getaffinity(0))
    statuses = text.render_shares(dict(sorted(plan.statuses.items())))
    read, sample, predict = (1000 * seconds / sampled for seconds in (plan.read, plan.sample, plan.predict))
    shuffled = plan.images * plan.shuffled / sampled / 1e9 * SHUFFLED_GB
    rows = [line_of(f"this machine, {cores} cores", plan, cores, None)]
    rows += [
        line_of(f"Dataflow, {m.workers} x {m.shape}", plan, m.workers * m.vcpus, (m.hour, shuffled)) for m in MACHINES
    ]
    return "\n".join(
        [
            f"{plan.images} images, {size}; {sampled} of them tried: {statuses}",
            f"each took {read:.0f} ms to read; of one core {sample:.0f} ms to decode and look for the lattice, "
            f"{predict:.0f} ms in the network",
            "",
            text.render_table(("machines", "images/s", "hours", "US dollars"), rows),
            "",
            f"A vCPU counts as a core of this machine. Prices of {AS_OF}, without disks, network and start-up.",
        ]
    )


def line_of(name: str, plan: Plan, cores: int, prices: tuple[float, float] | None) -> tuple[str, str, str, str]:
    """A line of the table; ``prices`` are dollars for an hour, and for what is shuffled."""
    per_second = cores / max(plan.seconds, 1e-9)
    hours = plan.images / per_second / 3600
    price = "-" if prices is None else f"{hours * prices[0] + prices[1]:,.2f}"
    return name, f"{per_second:,.1f}", f"{hours:,.2f}", price
