"""What README, docs and Makefile tell users is true: flags, columns, statuses, counters, files, output, the example."""

import re
import subprocess
import sys
from argparse import ArgumentParser
from itertools import takewhile
from pathlib import Path

import pytest

from pipelines import cli, export, predict, runs
from pipelines.audit import command as audit
from pipelines.audit import config as audit_config
from pipelines.audit.report import command as report
from pipelines.audit.table import AUDIT_SCHEMA
from pipelines.boost import decode as boost_decode
from pipelines.boost import encode as boost_encode
from pipelines.boost import evaluate as boost_evaluate
from pipelines.boost.command import SUBCOMMANDS
from pipelines.boost.results import SCHEMA as BOOST_SCHEMA
from pipelines.doctor import command as doctor
from pipelines.evaluation import command as evaluate
from pipelines.evaluation.studies import STUDIES
from pipelines.evaluation.studies.conditions import CONDITIONS
from pipelines.runtime.counters import COUNTERS, DISTRIBUTIONS
from pipelines.runtime.options import beam_parser
from pipelines.runtime.quiet import VERBOSE
from pipelines.shards import command as shards
from pipelines.shards.parquet import SHARD_SCHEMA
from q1net_core.codecs.table import CODECS
from q1net_core.jpeg.header import HEADER_MATCHES
from q1net_core.lattice.dictionary import known_tables
from q1net_core.network.variants import VARIANTS
from q1net_core.records import Status, Verdict
from q1net_core.settings import ESTIMATORS
from training import __main__ as train
from training.boost import command as boost_train
from training.config import PRESETS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {path.stem: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
ALL = "\n".join([README, *PAGES.values()])
PARSERS = {
    "audit": audit_config.make_parser(),
    **{
        f"boost {name}": module.make_parser()
        for name, module in (
            ("train", boost_train),
            ("encode", boost_encode),
            ("decode", boost_decode),
            ("evaluate", boost_evaluate),
        )
    },
    "doctor": doctor.make_parser(),
    "evaluate": evaluate.make_parser(),
    "export": export.make_parser(),
    "predict": predict.make_parser(),
    "report": report.make_parser(),
    "runs": runs.make_parser(),
    "shards": shards.make_parser(),
    "train": train.make_parser(),
}


def table(first_header: str) -> dict[str, list[str]]:
    """The table of docs/audit.md whose first header is given: first cell without backticks -> the other cells."""
    return parse_table(PAGES["audit"], first_header)


def table_in(page: str, first_header: str) -> dict[str, list[str]]:
    """A table of one page; a flag's first cell without its value."""
    return {name.split(" ")[0]: cells for name, cells in parse_table(PAGES[page], first_header).items()}


def parse_table(text: str, first_header: str) -> dict[str, list[str]]:
    """The first table of a text whose first header is given."""
    lines = takewhile(lambda line: line.startswith("|"), text.split(f"| {first_header} |", 1)[1].splitlines()[1:])
    rows = [line.removeprefix("| ").removesuffix("|").split(" | ") for line in list(lines)[1:]]
    return {cells[0].strip("` "): [cell.strip() for cell in cells[1:]] for cells in rows}


def flags_of(parser: ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")} - {"--help"}


def test_columns_are_documented_in_order_with_their_types() -> None:
    documented = [(name, cells[0]) for name, cells in table("column").items()]
    assert documented == [(field.name, str(field.type)) for field in AUDIT_SCHEMA]


def test_statuses_are_documented() -> None:
    assert list(table("status")) == [status.value for status in Status]


def test_verdicts_and_estimators_are_documented() -> None:
    assert list(table("verdict")) == [verdict.value for verdict in Verdict]
    documented = re.search(r"\| `--estimators NAMES` \| .*?`([\w,]+)`", PAGES["audit"])
    assert documented is not None
    assert tuple(documented[1].split(",")) == ESTIMATORS


def test_the_tables_that_the_lattice_knows_are_documented() -> None:
    families = {known.match for known in known_tables()} | {"custom"}
    assert set(re.findall(r"`(\w+)`", " ".join(table("column")["lattice_match"]))) == families


def test_counters_are_documented_with_their_meaning() -> None:
    for header, names in (("counter", COUNTERS), ("distribution", DISTRIBUTIONS)):
        documented = {name: cells[0] for name, cells in parse_table(PAGES["engines"], header).items()}
        assert documented == names
        assert list(documented) == list(names)


def test_header_matches_are_documented() -> None:
    assert set(re.findall(r"`(\w+)`", " ".join(table("column")["header_match"]))) == set(HEADER_MATCHES)


@pytest.mark.parametrize("command", PARSERS)
def test_every_command_has_a_page_that_names_its_flags(command: str) -> None:
    page = command.split(" ")[0]
    assert flags_of(PARSERS[command]) <= set(re.findall(r"--[a-z][a-z_-]*", PAGES[page]))
    assert f"](docs/{page}.md)" in README


def test_the_flags_of_evaluate_are_documented_in_their_table() -> None:
    rows = PAGES["evaluate"].split("| flag |", 1)[1]
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rows)) == flags_of(PARSERS["evaluate"])


def test_the_studies_of_evaluate_are_documented_with_their_files() -> None:
    documented = table_in("evaluate", "study")
    assert list(documented) == list(STUDIES)
    assert all(f"`{study.file}`" in documented[name][-1] for name, study in STUDIES.items())


def test_the_conditions_of_the_stress_study_are_documented() -> None:
    documented = " ".join(parse_table(PAGES["evaluate"], "condition"))
    assert sorted(re.findall(r"[\w.-]+", documented)) == sorted(CONDITIONS)


def test_the_flags_and_formats_of_export_are_documented() -> None:
    rows = PAGES["export"].split("| flag |", 1)[1]
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rows)) == flags_of(PARSERS["export"])
    assert set(table_in("export", "format")) == set(export.FORMATS)
    assert f"above {export.TOLERANCE} levels" in " ".join(PAGES["export"].split())


def test_the_flags_of_train_are_documented_in_its_table() -> None:
    rows = PAGES["train"].split("| flag |", 1)[1]
    assert set(re.findall(r"--[a-z-]+", rows)) >= flags_of(PARSERS["train"])


def test_the_flags_of_shards_are_documented_in_their_table() -> None:
    assert {flag for flag in table_in("shards", "flag") if flag.startswith("--")} == flags_of(PARSERS["shards"])


def test_the_columns_of_shards_are_documented_in_order_with_their_types() -> None:
    documented = [(name, cells[0]) for name, cells in table_in("shards", "column of a shard").items()]
    assert documented == [(field.name, str(field.type)) for field in SHARD_SCHEMA]


def test_codecs_are_documented_with_their_levels() -> None:
    documented = {name: cells[0] for name, cells in table_in("shards", "codec").items()}
    assert documented == {
        name: f"{codec.levels[0]}..{codec.levels[-1]}"
        if isinstance(codec.levels, range)
        else ", ".join(map(str, codec.levels))
        for name, codec in CODECS.items()
    }


def test_no_flag_is_documented_that_does_not_exist() -> None:
    services = {"--service_port", "--job_port", "--yaml_pipeline_file", "--jinja_variables"}
    services |= {"--source_format", "--parquet_enable_list_inference", "--use_legacy_sql", "--replace"}  # of bq
    known = set().union(*map(flags_of, PARSERS.values())) | flags_of(beam_parser()) | services | {"--help", VERBOSE}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z_-]+", ALL)) <= known


def test_every_documented_command_parses() -> None:
    """Each `q1net ...` line in a code block, continued lines joined, is accepted by its parser."""
    blocks = [block for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", ALL, re.S | re.M) if not language]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    commands = [line.split("q1net ", 1)[1] for line in lines if re.match(r"(\.venv/bin/)?q1net ", line)]
    commands += re.findall(r"\| `q1net ([^`]+)` \|", README)
    assert len(commands) >= 15
    for command in commands:
        name, *arguments = re.findall(r"'[^']*'|\S+", command)
        if name == "--help":
            continue
        if name not in PARSERS:
            name = f"{name} {arguments.pop(0)}"
        values, _ = PARSERS[name].parse_known_args([argument.strip("'") for argument in arguments])
        assert values is not None


def test_documented_commands_are_the_commands() -> None:
    assert {name.split(" ")[0] for name in PARSERS} == set(cli.COMMANDS)
    assert {name.split(" ")[1] for name in PARSERS if " " in name} == set(SUBCOMMANDS)


def test_the_columns_of_boost_are_documented_in_order_with_their_types() -> None:
    documented = [(name, cells[0]) for name, cells in table_in("boost", "column").items()]
    assert documented == [(field.name, str(field.type)) for field in BOOST_SCHEMA]


def test_variants_are_documented() -> None:
    assert set(table_in("networks", "variant")) == set(VARIANTS)


def test_presets_are_documented() -> None:
    assert set(table_in("train", "preset")) == set(PRESETS)


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", *(f"docs/{name}.md" for name in PAGES)])
def test_files_the_documents_name_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    links = [target for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in target]
    modules = re.findall(r"`((?:q1net_core|pipelines|training|tests|benchmarks|docs|deploy)/[\w/.]+)`", text)
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []
    assert [name for name in modules if not (ROOT / name).exists()] == []


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([\w-]+)", README, re.M):
        assert f"\n{target}:" in makefile


def test_the_readme_is_short() -> None:
    assert len(README) < 9000


def test_the_accuracy_of_the_readme_is_that_of_the_results() -> None:
    """Rows (estimator, levels, MAE, exact, within 1) stand in docs/results.md under the same levels."""
    shown = README.split("<!-- accuracy -->", 1)[1].split("<!-- end accuracy -->", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown.splitlines() if line[:2] == "| "]
    assert len(rows) > 5
    results = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGES["results"].splitlines()]
    measured = {(row[0], row[2], row[5], row[6]) for row in results if len(row) == 8}
    assert {tuple(row[1:]) for row in rows[1:]} <= measured


def test_the_demo_prints_what_the_readme_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All words and numbers but the run's name; Q1Net's figures to 0.2 levels, as processors may differ."""
    target = re.search(r"^demo:.*\n\t\$\(BIN\)/q1net (audit .*)$", (ROOT / "Makefile").read_text(), re.M)
    assert target is not None
    name, folder, _, _, *rest = target[1].replace("'", "").split()
    assert name == "audit"
    assert audit.run([str(ROOT / folder), "--output", str(tmp_path), *rest]) == 0
    printed = capsys.readouterr().out.split()
    shown = README.split("<!-- demo -->\n```\n", 1)[1].split("```", 1)[0].split()
    assert len(printed) == len(shown)
    different = [(a, b) for a, b in zip(shown, printed, strict=True) if a != b and not alike(a, b)]
    assert all("run_id=" in a and "run_id=" in b for a, b in different), different


def alike(shown: str, printed: str) -> bool:
    """Whether two words are rules of a table, or numbers that differ by at most 0.2."""
    if {*shown} == {*printed} == {"-"}:
        return True
    try:
        return abs(float(shown) - float(printed)) <= 0.2
    except ValueError:
        return False


def test_the_library_example_runs_as_written() -> None:
    code = PAGES["library"].split("```python\n", 1)[1].split("```", 1)[0]
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert abs(int(printed["tests/photographs/camera/hats.jpg"]) - 90) <= 4
    assert abs(int(printed["tests/photographs/messenger/wreck.png"]) - 70) <= 4
