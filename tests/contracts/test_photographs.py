"""The shipped weights on the bundled photographs, whose compression is known: what `make demo` shows is right."""

import csv
from pathlib import Path

import pytest

from q1net_core.estimator import estimate_image
from q1net_core.network.weights import PACKAGED, packaged_variants, read_weights
from q1net_core.records import ImageRecord, ListedImage, Status, Verdict
from q1net_core.settings import EstimatorSettings

PHOTOGRAPHS = Path(__file__).parents[1] / "photographs"
TRUTH = list(csv.DictReader((PHOTOGRAPHS / "truth.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def records() -> dict[str, ImageRecord]:
    settings = EstimatorSettings()
    weights = settings.pin_all(settings.read_weights())
    return {
        row["file"]: estimate_image(ListedImage(str(PHOTOGRAPHS / row["file"])), settings, weights) for row in TRUTH
    }


def test_the_table_of_the_truth_lists_every_photograph() -> None:
    files = {str(path.relative_to(PHOTOGRAPHS)) for path in PHOTOGRAPHS.glob("*/*")}
    assert {row["file"] for row in TRUTH} == files


@pytest.mark.parametrize("row", TRUTH, ids=lambda row: row["file"])
def test_the_header_says_what_the_table_says(row: dict[str, str], records: dict[str, ImageRecord]) -> None:
    header = records[row["file"]].info.header
    assert (str(round(header.quality)) if header and header.quality else "") == row["header_quality"]


@pytest.mark.parametrize(
    "row",
    [row for row in TRUTH if row["quality"]],
    ids=lambda row: row["file"],
)
def test_the_pixels_show_the_quality_they_were_compressed_at(
    row: dict[str, str], records: dict[str, ImageRecord]
) -> None:
    record = records[row["file"]]
    assert record.status is Status.OK
    assert record.network is not None
    assert record.network.quality == pytest.approx(float(row["quality"]), abs=4)
    assert (record.answer.quality, record.answer.source) == (float(row["quality"]), "lattice")


@pytest.mark.parametrize("row", TRUTH, ids=lambda row: row["file"])
def test_the_lattice_and_the_verdict_are_true(row: dict[str, str], records: dict[str, ImageRecord]) -> None:
    record, lattice = records[row["file"]], records[row["file"]].lattice
    if not row["grid_x"]:
        assert (lattice.quality, record.verdict) == (None, Verdict.PRISTINE)
        return
    assert lattice.grid == (int(row["grid_x"]), int(row["grid_y"]))
    # The one table that is not libjpeg's is in its file's header, as the nearest level.
    assert lattice.quality == float(row["quality"] or row["header_quality"])
    if not row["header_quality"]:
        expected = Verdict.STRIPPED
    elif row["quality"] and row["quality"] != row["header_quality"]:
        expected = Verdict.RECOMPRESSED
    else:
        expected = Verdict.SINGLE
    assert record.verdict is expected


def test_packaged_weights_have_the_sha256_of_their_card_and_a_place_in_the_model_card() -> None:
    text = (PACKAGED / "README.md").read_text()
    for variant in packaged_variants():
        weights = read_weights(variant, codecs=None)
        assert weights.sha256 in text
