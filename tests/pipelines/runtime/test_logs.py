"""Events are logged as JSON, and a flood of the same is not."""

import json
import logging

import pytest

from pipelines.runtime import logs


def test_events_are_json_and_repeats_are_capped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logs.LOGGER.name)
    for number in range(logs.REPEATS + 3):
        logs.log_event("test of logs", "first", uri=f"a/{number}.jpg", error='a "quoted" error')
    logs.log_event("test of logs", "second", error=None)
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    assert lines[0] == {
        "event": "test of logs",
        "kind": "first",
        "uri": "a/0.jpg",
        "error": 'a "quoted" error',
    }
    assert [line["kind"] for line in lines] == ["first"] * (logs.REPEATS + 1) + ["second"]
    assert lines[logs.REPEATS]["note"] == "not logged again by this process after 5 times"


def test_nothing_is_shown_on_this_machine(capfd: pytest.CaptureFixture[str]) -> None:
    logs.log_event("test of logs", "third")
    assert capfd.readouterr().err == ""
