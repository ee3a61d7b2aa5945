"""Whole runs from buckets to buckets, over connections that break: the same rows as from a folder, and no secrets."""

import json
import os
import uuid
from pathlib import Path

import pytest
from emulators import BUCKET, through_faults
from faulty_proxy import Faults
from pictures import PHOTOGRAPHS

from pipelines.audit.run import read_run
from pipelines.audit.table import Row
from pipelines.cli import main
from pipelines.files import read_json, read_uri
from q1net_core import storage

SERVERS = ("s3_server", "gcs_server")
FAULTS = Faults(unavailable=0.06, reset=0.04, cut=0.04, slow=0.08, delay=0.05, seed=11)
PICTURES = ("camera/hats.jpg", "messenger/houses.jpg", "messenger/wreck.png")
# What depends on the store, or on the clock.
APART = ("uri", "version", "modified", "processed_at")


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> str:
    """A folder of a store with three pictures and a file that is none."""
    base = f"{request.getfixturevalue(request.param)}/{uuid.uuid4().hex}"
    for name in PICTURES:
        storage.write_bytes(f"{base}/{Path(name).name}", (PHOTOGRAPHS / name).read_bytes())
    storage.write_bytes(f"{base}/not an image.jpg", b"<html>")
    return base


def audited(output: str, *arguments: str) -> list[Row]:
    """The rows of an audit by the lattice, by uri, without what depends on the store or the clock."""
    assert main(["audit", *arguments, "--output", output, "--estimators=lattice", "--workers=2", "--verbose"]) == 0
    folders = [name for name in list_names(output) if name.startswith("run_id=")]
    rows = sorted(read_run(f"{output}/{folders[0]}").to_pylist(), key=lambda row: row["uri"])
    return [{name: value for name, value in row.items() if name not in APART} for row in rows]


def list_names(uri: str) -> set[str]:
    """The names in a folder of any store."""
    fs, path = storage.resolve(uri)
    fs.invalidate_cache()
    return {Path(name).name for name in fs.ls(path, detail=False)}


@pytest.mark.parametrize(("server", "bucket"), [(name, name) for name in SERVERS], indirect=["bucket"])
def test_an_audit_over_broken_connections_gives_the_rows_of_a_folder(
    server: str, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    for name in PICTURES:
        storage.write_bytes(f"{photos}/{Path(name).name}", (PHOTOGRAPHS / name).read_bytes())
    storage.write_bytes(f"{photos}/not an image.jpg", b"<html>")
    with through_faults(server, FAULTS) as proxy:
        rows = audited(f"{bucket}/runs", f"{bucket}/*.*g")
        assert sum(proxy.done.values()) - proxy.done["none"] > 0
    assert rows == audited(str(tmp_path / "runs"), str(photos))
    assert [row["status"] for row in rows] == ["ok", "ok", "unsupported", "ok"]


@pytest.mark.parametrize(
    ("server", "bucket"),
    [("s3_server", "s3_server"), pytest.param("gcs_server", "gcs_server", marks=pytest.mark.slow)],
    indirect=["bucket"],
)
def test_shards_over_broken_connections_are_those_of_a_folder(server: str, bucket: str, tmp_path: Path) -> None:
    picture = (PHOTOGRAPHS / "camera" / "airplane.png").read_bytes()
    arguments = ["--levels=50,90", "--patches-per-image=100", "--rows-per-shard=100", "--workers=2"]
    storage.write_bytes(f"{bucket}/lossless/airplane.png", picture)
    storage.write_bytes(f"{tmp_path}/lossless/airplane.png", picture)
    with through_faults(server, FAULTS):
        assert main(["shards", f"--images={bucket}/lossless", f"--output={bucket}/shards", *arguments]) == 0
    assert main(["shards", f"--images={tmp_path}/lossless", f"--output={tmp_path}/shards", *arguments]) == 0
    remote, local = (read_json(f"{base}/shards/dataset.json") for base in (bucket, tmp_path))
    assert [file["rows"] for file in remote["files"]] == [file["rows"] for file in local["files"]]
    for file in remote["files"]:
        assert len(read_uri(f"{bucket}/shards/{file['name']}")) == file["bytes"]


def test_credentials_are_in_no_log_row_or_file(
    s3_server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    secrets = ("AKIAQ1NETTESTKEY", "verysecretkeyoftests", "hunter2")
    uris = [
        f"s3://{BUCKET}/gone.jpg",
        f"https://me:hunter2@{BUCKET}.invalid/a.jpg?X-Amz-Signature=verysecretkeyoftests",
    ]
    manifest = tmp_path / "images.jsonl"
    manifest.write_text("".join(json.dumps({"uri": uri}) + "\n" for uri in uris))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", secrets[0])
        patch.setenv("AWS_SECRET_ACCESS_KEY", secrets[1])
        with through_faults("s3_server", Faults(unavailable=1, status=403)):
            rows = audited(f"{tmp_path}/runs", f"--manifest={manifest}")
            assert main(["audit", f"s3://{BUCKET}/photos/", "--output", f"{tmp_path}/runs", "--verbose"]) == 2
            assert main(["audit", str(PHOTOGRAPHS), "--output", f"s3://{BUCKET}/runs", "--verbose"]) == 2
    assert {row["status"] for row in rows} <= {"unreadable", "missing"}
    assert len(rows) == 2
    printed = "".join(capfd.readouterr())
    assert "cannot list s3://q1net-test/photos" in printed
    assert "cannot write to output s3://q1net-test/runs" in printed
    for secret in secrets:
        assert secret not in printed
        assert secret not in caplog.text
        assert secret not in json.dumps(rows, default=str)
        # The list of inputs is what workers read images by: it alone keeps URLs as they were given.
        for path in (tmp_path / "runs").rglob("*"):
            assert not (path.is_file() and path.parent.name != "_inputs" and os.fsencode(secret) in path.read_bytes())
