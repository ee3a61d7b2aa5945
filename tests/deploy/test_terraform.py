"""Terraform's files: they parse, are formatted, give the workers no role too many; the API takes the template."""

import json
import re
from pathlib import Path
from typing import Any

import hcl2
import pytest
from google.cloud.dataflow_v1beta3.types import ContainerSpec

FOLDER = Path(__file__).parents[2] / "deploy/terraform"
FILES = sorted(FOLDER.glob("*.tf"))
TEXT = "\n".join(path.read_text() for path in FILES)


def plain(value: str) -> str:
    return value.strip('"')


def blocks(kind: str) -> dict[tuple[str, ...], dict[str, Any]]:
    """Blocks of a kind, by their labels."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for path in FILES:
        for block in hcl2.loads(path.read_text()).get(kind, []):
            labels: list[str] = []
            while "__is_block__" not in block:
                (label,) = block
                labels.append(plain(label))
                block = block[label]
            found[tuple(labels)] = block
    return found


def test_the_folder_has_the_usual_files() -> None:
    assert [path.name for path in FILES] == ["main.tf", "outputs.tf", "variables.tf", "versions.tf"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_that_was_never_applied_says_so(path: Path) -> None:
    assert path.read_text().startswith("# Not applied where it was written")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_formatted(path: Path) -> None:
    """As `terraform fmt` has it: two spaces a level, equals signs of neighbouring lines in one column."""
    depth, column, before = 0, 0, -2
    for number, line in enumerate(path.read_text().splitlines()):
        assert line == line.rstrip()
        text = line.strip()
        if not text:
            continue
        closing = len(re.match(r"[\]})]*", text)[0])  # type: ignore[index]
        level = depth - min(1, closing)
        assert len(line) - len(line.lstrip()) == 2 * level, f"{path.name}:{number + 1}"
        code = re.sub(r'"[^"]*"|#.*', "", text)
        depth += min(1, sum(map(code.count, "[{("))) - min(1, sum(map(code.count, "]})")))
        assigned = re.match(r"\s*[\w-]+\s*=\s", line)
        opens = code.endswith(("[", "{", "("))
        if assigned and before == number - 1:
            # A value of several lines begins a group of its own.
            assert opens or line.index("=") == column, f"{path.name}:{number + 1}"
        if assigned and not opens:
            column, before = line.index("="), number


def test_what_is_referred_to_exists() -> None:
    resources = {".".join(labels) for labels in blocks("resource")}
    used = set(re.findall(r"\b(google_\w+\.\w+)\b", TEXT))
    assert len(resources) == len(blocks("resource")) > 10
    assert used <= resources
    assert set(re.findall(r"\bvar\.(\w+)", TEXT)) == {name for (name,) in blocks("variable")}


def test_the_workers_have_the_least_rights() -> None:
    roles = {
        (labels[1], plain(block["role"]))
        for labels, block in blocks("resource").items()
        if labels[0].endswith("_iam_member")
    }
    assert roles == {
        ("worker", "roles/dataflow.worker"),
        ("worker_writes_runs", "roles/storage.objectAdmin"),
        ("worker_sees_bucket", "roles/storage.legacyBucketReader"),
        ("worker_reads_images", "roles/storage.objectViewer"),
        ("worker_pulls", "roles/artifactregistry.reader"),
        ("launcher", "roles/dataflow.developer"),
        ("launcher_acts_as_worker", "roles/iam.serviceAccountUser"),
        ("people_launch", "roles/dataflow.developer"),
        ("people_act_as_worker", "roles/iam.serviceAccountUser"),
    }
    on_the_project = [labels for labels in blocks("resource") if labels[0] == "google_project_iam_member"]
    assert sorted(name for _, name in on_the_project) == ["launcher", "people_launch", "worker"]
    assert not re.search(r"roles/(owner|editor|viewer|storage\.admin)\"|allUsers|allAuthenticatedUsers", TEXT)


def test_the_bucket_is_closed_and_cleans_itself() -> None:
    bucket = blocks("resource")["google_storage_bucket", "runs"]
    assert bucket["uniform_bucket_level_access"] is True
    assert plain(bucket["public_access_prevention"]) == "enforced"
    (rule,) = bucket["lifecycle_rule"]
    assert [plain(prefix) for prefix in rule["condition"][0]["matches_prefix"]] == ["temp/"]


def test_the_template_is_one_that_the_api_takes() -> None:
    content = blocks("resource")["google_storage_bucket_object", "template"]["content"]
    assert 'image = "${local.images}/launcher:${var.tag}"' in content
    metadata = FOLDER / re.search(r'file\("\$\{path\.module\}/([^"]+)"\)', content)[1]  # type: ignore[index]
    environment = re.search(r"defaultEnvironment = \{(.*?)\}\}\)", content)[1]  # type: ignore[index]
    keys = re.findall(r"(?:^|, )(\w+) = ", environment)
    assert {"serviceAccountEmail", "tempLocation", "stagingLocation"} <= set(keys)
    numbers = {key: int(number) for key, number in re.findall(r"(\w+) = (\d+)", environment)}
    assert numbers == {"maxWorkers": 20, "diskSizeGb": 50}
    spec = {
        "image": "registry/launcher:1",
        "metadata": json.loads(metadata.read_text()),
        "sdkInfo": {"language": "PYTHON"},
        "defaultEnvironment": dict.fromkeys(keys, "x") | numbers,
    }
    parsed = ContainerSpec.from_json(json.dumps(spec), ignore_unknown_fields=False)
    assert parsed.default_environment.max_workers == 20
    spec["defaultEnvironment"]["maxWorker"] = 1  # type: ignore[index]
    with pytest.raises(Exception, match="no field named"):
        ContainerSpec.from_json(json.dumps(spec), ignore_unknown_fields=False)


def test_image_names_are_those_of_the_dockerfiles() -> None:
    images = {path.name.removesuffix(".Dockerfile") for path in (FOLDER.parent / "images").iterdir()}
    assert set(re.findall(r"\$\{local\.images\}/([\w-]+):", TEXT)) == images
