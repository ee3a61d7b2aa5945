"""The example pipelines of Beam YAML run, through the provider file, and give what the commands give."""

import json
from pathlib import Path

import pytest
import yaml
from apache_beam.yaml import main
from pictures import ORIGINALS, PHOTOGRAPHS, load_original
from PIL import Image

import pipelines.cli
from pipelines.audit.beam_rows import ROW, AuditRows
from pipelines.audit.table import AUDIT_SCHEMA
from pipelines.files import read_json
from pipelines.shards.transform import MakeShards
from q1net_core.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "deploy/yaml"
PICTURES = {"wreck.png": 70, "airplane.png": None, "rafting.jpg": 40}


def run_yaml(name: str, **variables: str) -> None:
    flags = [f"--yaml_pipeline_file={FOLDER / name}", f"--jinja_variables={json.dumps(variables)}"]
    main.run([*flags, "--runner=FnApiRunner"])


def test_an_audit_runs_from_yaml(tmp_path: Path) -> None:
    uris = [str(path) for path in PHOTOGRAPHS.rglob("*") if path.name in PICTURES]
    assert len(uris) == len(PICTURES)
    images = tmp_path / "images.csv"
    images.write_text("\n".join(["uri,owner", *(f"{uri},me" for uri in uris)]) + "\n")
    run_yaml("audit.yaml", images=str(images), output=str(tmp_path / "found"))
    lines = [line for file in tmp_path.glob("found*") for line in file.read_text().splitlines()]
    found = {Path(row["uri"]).name: row["quality"] for row in map(json.loads, lines)}
    assert found == {name: quality for name, quality in PICTURES.items() if quality}


def test_shards_are_made_from_yaml_as_the_command_makes_them(tmp_path: Path) -> None:
    originals = tmp_path / "originals"
    originals.mkdir()
    for number, name in enumerate(ORIGINALS):
        Image.fromarray(load_original(name)[:160, :192]).save(originals / f"{number}.png")
    run_yaml("shards.yaml", images=str(originals), output=str(tmp_path / "yaml"))
    command = ["shards", f"--images={originals}", f"--output={tmp_path / 'command'}", "--levels=10,50,90"]
    assert pipelines.cli.main([*command, "--rows-per-shard=300", "--workers=1"]) == 0
    made, wanted = (read_json(str(tmp_path / name / "dataset.json")) for name in ("yaml", "command"))
    assert made["files"] == wanted["files"]
    assert made["splits"] == wanted["splits"]
    assert not (tmp_path / "yaml" / "_work").exists()


def test_the_providers_name_what_is_there() -> None:
    (provider,) = yaml.safe_load((FOLDER / "providers.yaml").read_text())
    named = {f"{kind.__module__}.{kind.__qualname__}" for kind in (AuditRows, MakeShards)}
    assert set(provider["transforms"].values()) == named


def test_settings_of_yaml_are_checked_as_those_of_the_command(tmp_path: Path) -> None:
    assert AuditRows(estimators=["lattice"]).audit.settings.estimators == ("lattice",)
    with pytest.raises(ConfigError, match="patches"):
        AuditRows(patches=7)
    with pytest.raises(ConfigError, match="codec is 'gif'; expected one of"):
        MakeShards(images=str(tmp_path), output=str(tmp_path), codec="gif")


def test_rows_have_the_columns_of_the_table() -> None:
    assert [name for name, _ in ROW._fields] == AUDIT_SCHEMA.names
