"""`--json`: lines of JSON on stdout and nothing else, and the last one says how it ended."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, Result, write_pictures, write_safetensors

Main = Callable[..., Result]
RUN = ("lora", "-m", "base.safetensors", "--no-vram-check", "--json", "--steps", "3")


@pytest.fixture
def ready(cli: Cli) -> Cli:
    write_pictures(cli.folder / "data")
    write_safetensors(cli.folder / "base.safetensors")
    return cli


@pytest.fixture
def here(main: Main, tmp_path: Path) -> Main:
    """The same, in this process."""
    write_pictures(tmp_path / "data")
    write_safetensors(tmp_path / "base.safetensors")
    return main


def events(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_last_event_of_a_run_is_its_result(ready: Cli) -> None:
    result = ready(*RUN)

    *_, step, last = events(result)
    assert result.code == 0, result.stderr
    assert (last["event"], last["state"], last["steps"]) == ("result", "done", 3)
    assert last["path"] == str(ready.folder / "output" / "data" / "data.safetensors")
    assert isinstance(last["loss"], float)
    assert last["seconds"] > 0
    assert step["event"] != "result"


def test_the_last_event_of_a_failed_run_has_cause_and_steps(ready: Cli) -> None:
    result = ready(*RUN, STANDIN_FAIL="oom")

    last = events(result)[-1]
    assert (result.code, last["event"], last["exit_code"], last["state"]) == (7, "error", 7, "failed")
    assert last["cause"]
    assert last["problems"][0]["message"]


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_the_last_event_of_a_stopped_run_says_how_far_it_came(ready: Cli) -> None:
    with ready.start(*RUN[:-1], "4000") as running:
        running.until_told("run: ")
        running.send(signal.SIGINT)
        result = running.end()

    last = events(result)[-1]
    assert (result.code, last["event"], last["exit_code"]) == (130, "error", 130)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("lora", "--json", "--data", "absent"), 4),
        (("lora", "--json", "--steps", "x"), 2),
        (("lora", "--json", "--no-such-flag"), 2),
        (("lora", "--json", "--preset", "absent"), 3),
        (("lora", "--json"), 6),
        pytest.param(("fit", "--json"), 6, marks=pytest.mark.slow),
        (("plan", "--json"), 6),
        (("plan", "--kind", "embedding", "--gpu-memory", "4", "--json"), 6),
        (("start", "--json", "absent"), 4),
        (("queue", "list", "--watch", "--json"), 2),
        (("cluster", "list", "--watch", "--json"), 2),
        (("runs", "show", "absent", "--json"), 2),
        (("runs", "resume", "absent", "--json"), 2),
        (("runs", "rerun", "absent", "--json"), 2),
        (("runs", "explain", "absent", "--json"), 2),
        (("presets", "show", "absent", "--json"), 3),
        (("dataset", "check", "absent", "--json"), 4),
        (("inspect", "absent.safetensors", "--json"), 4),
        (("setup", "--use", "absent", "--json"), 5),
    ],
)
def test_a_refusal_is_one_line_of_json(here: Main, words: tuple[str, ...], code: int) -> None:
    result = here(*words)

    (told,) = events(result)
    assert (result.code, told["event"], told["exit_code"]) == (code, "error", code), result.stderr
    assert f"error: {told['problems'][0]['message']}" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("lora", "-m", "base.safetensors", "--dry-run", "--gpu-memory", "24", "--json"),
        ("plan", "--gpu-memory", "8", "--json"),
        ("vram", "--json"),
        ("presets", "list", "--json"),
        ("presets", "show", "dim32-gc", "--json"),
        ("runs", "list", "--json"),
        ("dataset", "check", "data", "--json"),
        ("dataset", "show", "data", "--json"),
        ("inspect", "base.safetensors", "--json"),
        ("doctor", "--json"),
        ("setup", "--list", "--json"),
    ],
)
def test_an_answer_is_one_document_of_json(here: Main, words: tuple[str, ...]) -> None:
    json.loads(here(*words).stdout)
