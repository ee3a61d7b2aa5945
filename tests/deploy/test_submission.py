"""A whole job, submitted to a Dataflow service and a bucket on loopback: what it asks for, and the run it commits."""

from collections.abc import Iterator
from dataclasses import dataclass

import gcsfs
import pytest
from dataflow_service import Service, serve_dataflow
from google.cloud.dataflow import JobType, WorkerIPAddressConfiguration
from pictures import PHOTOGRAPHS

from pipelines.audit.command import run
from pipelines.audit.run import read_run
from pipelines.files import read_json
from pipelines.runtime.dataflow import ACCELERATORS, steps_by_machine

IMAGE = "europe-west4-docker.pkg.dev/project/q1net/gpu-worker:1"
NAMES = ("hats.jpg", "wreck.png")
ACCOUNT = "q1net-worker@project.iam.gserviceaccount.com"


@dataclass
class Submitted:
    service: Service
    status: int
    output: str


@pytest.fixture(scope="module")
def bucket(gcs_server: str) -> str:
    store = gcsfs.GCSFileSystem()
    for path in PHOTOGRAPHS.rglob("*"):
        if path.name in NAMES:
            store.put(str(path), f"{gcs_server}/photos/{path.name}")
    return gcs_server


def submit(service: Service, bucket: str, *flags: str) -> int:
    return run(
        [
            f"{bucket}/photos",
            f"--output={bucket}/runs",
            "--runner=DataflowRunner",
            "--project=project",
            "--region=europe-west4",
            f"--temp_location={bucket}/temp",
            f"--dataflow_endpoint={service.url}",
            f"--sdk_container_image={IMAGE}",
            "--job_name=archive",
            *flags,
        ]
    )


@pytest.fixture(scope="module")
def submitted(bucket: str) -> Iterator[Submitted]:
    with serve_dataflow() as service:
        flags = ["--accelerator=t4", f"--service_account_email={ACCOUNT}", "--no_use_public_ips"]
        flags += ["--subnetwork=regions/europe-west4/subnetworks/private", "--max_num_workers=7"]
        flags += ["--worker_machine_type=n2-standard-4", "--labels=team=archive", "--weights=q1net-k8", "--patches=16"]
        status = submit(service, bucket, *flags)
        assert service.error is None
        yield Submitted(service, status, f"{bucket}/runs")


def test_the_job_ends_with_a_committed_run(submitted: Submitted) -> None:
    assert submitted.status == 0
    runs = gcsfs.GCSFileSystem().glob(f"{submitted.output}/run_id=*/_run.json")
    assert len(runs) == 1
    rows = {row["uri"].rpartition("/")[2]: row for row in read_run(f"gs://{runs[0].rpartition('/')[0]}").to_pylist()}
    assert sorted(rows) == sorted(NAMES)
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert rows["wreck.png"]["quality"] == 70
    assert all(row["patches_used"] > 0 for row in rows.values())


def test_the_job_asks_for_the_machines_that_were_named(submitted: Submitted) -> None:
    (pool,) = submitted.service.environment["workerPools"]
    assert pool["machineType"] == "n2-standard-4"
    assert pool["diskSizeGb"] == 50
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 7
    assert WorkerIPAddressConfiguration(pool["ipConfiguration"]).name == "WORKER_IP_PRIVATE"
    assert pool["subnetwork"] == "regions/europe-west4/subnetworks/private"
    assert {image["containerImage"] for image in pool["sdkHarnessContainerImages"]} == {IMAGE}


def test_the_job_runs_as_its_own_account_and_as_a_batch(submitted: Submitted) -> None:
    assert submitted.service.environment["serviceAccountEmail"] == ACCOUNT
    assert JobType(submitted.service.job["type"]).name == "JOB_TYPE_BATCH"
    assert submitted.service.job["labels"] == {"team": "archive"}
    assert submitted.service.job["name"] == "archive"


def test_no_service_option_puts_accelerators_on_all_machines(submitted: Submitted) -> None:
    assert not any("worker_accelerator" in option for option in submitted.service.environment.get("serviceOptions", []))
    assert "use_multiple_sdk_containers" in submitted.service.environment["experiments"]


def test_no_main_session_and_no_credentials_are_sent(submitted: Submitted) -> None:
    options = submitted.service.options
    assert not options.get("save_main_session")
    assert options["sdk_location"] == "container"
    assert "PRIVATE KEY" not in str(submitted.service.job)
    staged = gcsfs.GCSFileSystem().find(options["staging_location"])
    assert [name.rpartition("/")[2] for name in staged] == ["pipeline.pb", "submission_environment_dependencies.txt"]


def test_the_staged_graph_has_its_hints_on_inference_alone(submitted: Submitted) -> None:
    hints = steps_by_machine(submitted.service.read_graph())
    hinted = {name for (_, some), names in hints.items() if some for name in names}
    assert {some for _, some in hints} == {(), (f"accelerator={ACCELERATORS['t4']}", "min_ram=12GB")}
    assert hinted
    assert all("/EstimateQuality " in name for name in hinted)


def test_a_template_is_written_and_no_job_submitted(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As the launcher of a Flex Template asks for it."""
    with serve_dataflow() as service:
        assert submit(service, bucket, f"--template_location={bucket}/launched/job.json") == 0
        assert service.requests == []
    assert f"run: {bucket}/runs/run_id=" in capsys.readouterr().out
    job = read_json(f"{bucket}/launched/job.json")
    assert job["environment"]["workerPools"][0]["autoscalingSettings"]["maxNumWorkers"] == 20


def test_a_job_that_fails_fails_the_command(bucket: str) -> None:
    with serve_dataflow() as service, pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "work", lambda: setattr(service, "state", "JOB_STATE_FAILED"))
        with pytest.raises(Exception, match=r"Dataflow pipeline failed\. State: FAILED"):
            submit(service, bucket, "--estimators=lattice")
