"""What machines cost, for `q1net audit --plan`: a few shapes of Dataflow's batch workers, as data."""

from dataclasses import dataclass

# US dollars, list prices of the region us-central1 as its price list had them; look them up before relying on a price.
AS_OF = "2025-06"
VCPU_HOUR, GB_HOUR, SHUFFLED_GB = 0.056, 0.003557, 0.011


@dataclass(frozen=True, slots=True)
class Machines:
    """Workers of one shape: virtual processors and GB of memory of each."""

    shape: str
    workers: int
    vcpus: int
    gb: float

    @property
    def hour(self) -> float:
        """Dollars for an hour of all of them."""
        return self.workers * (self.vcpus * VCPU_HOUR + self.gb * GB_HOUR)


MACHINES = (
    Machines("n1-standard-4", 1, 4, 15),
    Machines("n1-standard-4", 25, 4, 15),
    Machines("n2-standard-8", 1, 8, 32),
    Machines("n2-standard-8", 50, 8, 32),
)
