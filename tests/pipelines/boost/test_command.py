"""The subcommands from the command line: files, lines, exit statuses."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from boosted import draw_picture, make_model
from PIL import Image

from pipelines.boost import measure, references
from pipelines.boost.command import run
from pipelines.boost.measure import measure_picture
from q1net_core.boost import indices
from q1net_core.boost.model import card_uri, write_boost_model
from q1net_core.boost.picture import boost, show
from q1net_core.codecs import video
from q1net_core.errors import ConfigError


@pytest.fixture(scope="module")
def model_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = str(tmp_path_factory.mktemp("model") / "boost-jpeg.npz")
    write_boost_model(make_model(), uri, {})
    return uri


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number, size in enumerate([(48, 64), (40, 56), (64, 48)]):
        Image.fromarray(draw_picture(*size, number)).save(folder / f"{number}.png")
    return folder


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_picture_is_encoded_and_decoded(
    model_uri: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boosted, decoded = tmp_path / "0.q1bp", tmp_path / "0.png"
    assert run(["encode", str(pictures / "0.png"), "--model", model_uri, "--level", "9", "--output", str(boosted)]) == 0
    assert f"{boosted.stat().st_size} bytes" in capsys.readouterr().out
    assert run(["decode", str(boosted), "--model", model_uri, "--output", str(decoded)]) == 0
    expected = show(boost(draw_picture(48, 64, 0), 9, make_model()).file, make_model())
    np.testing.assert_array_equal(read(decoded), expected)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "I;16"])
def test_pictures_of_all_modes_are_encoded(model_uri: str, mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(draw_picture(24, 32)).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    path = tmp_path / "picture.tif"
    image.save(path)
    assert run(["encode", str(path), "--model", model_uri, "--level", "9", "--output", str(tmp_path / "x")]) == 0


def test_a_rate_is_met_by_the_whole_file(
    model_uri: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["encode", str(pictures / "0.png"), "--model", model_uri, "--output", str(tmp_path / "x")]
    assert run([*command, "--bpp", "2.5"]) == 0
    rate = 8 * (tmp_path / "x").stat().st_size / (48 * 64)
    assert 2.2 < rate <= 2.5
    capsys.readouterr()
    assert run([*command, "--bpp", "0.01"]) == 2
    assert "jpeg reaches" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", "empty"), (b"Q1BP", "corrupt"), (b"GIF89a" * 9, "corrupt"), (None, "missing")],
)
def test_files_that_cannot_be_decoded_are_told_in_a_line(
    model_uri: str, content: bytes | None, status: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    assert run(["decode", str(path), "--model", model_uri, "--output", str(tmp_path / "x.png")]) == 1
    printed = capsys.readouterr().err
    assert f"{path}: {status}: " in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "x.png").exists()


def test_models_that_cannot_be_used_are_told(
    model_uri: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.npz"
    broken.write_bytes(Path(model_uri).read_bytes()[:-9])
    card = Path(card_uri(model_uri)).read_text()
    Path(card_uri(str(broken))).write_text(card)
    for model, problem in [
        ("none", "expected an .npz"),
        (str(tmp_path / "no.npz"), "nothing at"),
        (str(broken), "sha"),
    ]:
        command = ["encode", str(pictures / "0.png"), "--model", model, "--level", "9", "--output", str(tmp_path / "x")]
        assert run(command) == 2
        assert problem in capsys.readouterr().err


def test_an_evaluation_writes_rows_summary_table_and_diagram(
    model_uri: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", model_uri, "--levels", "5,10,20,40", "--references", "avif,jpegxl", "--workers", "2"]
    assert run(["evaluate", "--images", str(pictures), "--output", str(tmp_path), *flags]) == 0
    assert "BD-rate, patterns over codec" in capsys.readouterr().out
    rows = pq.read_table(tmp_path / "boost.parquet").to_pylist()
    assert len(rows) == 3 * (4 * 3 + 5 + 5)
    sizes = {str(path): read(path)[:, :, 0].size for path in pictures.iterdir()}
    for row in rows:
        total = row["base_bytes"] + row["side_bytes"] + row["header_bytes"]
        assert row["bpp"] == pytest.approx(8 * total / sizes[row["uri"]])
        assert (row["net_db_codec"] is None) or row["design"] != "codec"
    summary = json.loads((tmp_path / "boost.json").read_text())
    assert summary["images"] == 3
    assert {mean["codec"] for mean in summary["means"]} == {"jpeg", "avif", "jpegxl"}
    assert set(summary["bd_rates"]) >= {"patterns over filter", "avif over codec", "jpegxl over codec"}
    assert (tmp_path / "boost.png").read_bytes()[:4] == b"\x89PNG"


def test_the_pipeline_says_what_one_process_says(model_uri: str, pictures: Path, tmp_path: Path) -> None:
    flags = ["--model", model_uri, "--levels", "6,12,30"]
    assert run(["evaluate", "--images", str(pictures), "--output", str(tmp_path), *flags]) == 0
    rows = pq.read_table(tmp_path / "boost.parquet").to_pylist()
    path = pictures / "1.png"
    alone = measure_picture(str(path), read(path), make_model(), (6, 12, 30), ())
    assert [row for row in rows if row["uri"] == str(path)] == alone


def test_a_gain_is_over_the_picture_s_own_curve() -> None:
    rows = [
        {"codec": "jpeg", "design": design, "bpp": bpp, "psnr": quality, "msssim": None}
        for design, points in (("codec", [(1, 30), (2, 33), (4, 36)]), ("filter", [(2, 33.5)]))
        for bpp, quality in points
    ]
    measure.add_gains(rows, "jpeg")
    assert [row["net_db_codec"] for row in rows] == [None, None, None, pytest.approx(0.5)]
    assert rows[-1]["net_msssim_codec"] is None


@pytest.mark.parametrize(
    ("flags", "problem"),
    [(["--levels", "0,5"], "1 to 100"), (["--references", "gif"], "hevc, avif, jpegxl"), (["--nonsense"], "unknown")],
)
def test_evaluations_that_cannot_be_are_refused(
    model_uri: str, pictures: Path, flags: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--images", str(pictures), "--output", str(tmp_path), "--model", model_uri, *flags]
    assert run(command) == 2
    assert problem in capsys.readouterr().err


def test_subcommands_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert run([]) == 2
    assert run(["squeeze"]) == 2
    assert "train, encode, decode, evaluate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("library", "load", "extra"),
    [
        ("constriction", indices.import_constriction, "boost"),
        ("imagecodecs", references.import_imagecodecs, "jxl"),
        ("av", video.import_av, "video"),
    ],
)
def test_a_missing_library_is_told_with_its_extra(
    library: str, load: object, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert importlib.util.find_spec(library)
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(ConfigError, match=rf"\.\[{extra}\]"):
        load()
