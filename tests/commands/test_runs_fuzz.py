"""Records with absurd values, and pipes in place of files: each command on runs gives one line, never a traceback."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result
from kept_runs import draw_samples, keep_with_files, metrics

from sdxl_train_cli import process

Main = Callable[..., Result]
only_posix = pytest.mark.skipif(process.WINDOWS, reason="makes pipes")
TRIES = int(os.environ.get("SDXL_TRAIN_EXAMPLES", "60"))
ODD = [
    None, True, -1, 0, 10**30, "NaN", "", "x" * 300, "\x1b[2J\x07", "a\0b", "../../etc/passwd", "\u202e", [], {}, [[]],
    {"a": {"a": {}}}, 1e308, -1e308, "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+14:00", 2**63, 1.5,
    float("nan"), float("inf"),
]  # fmt: skip
RAW = [
    "9" * 400, "9" * 5000, "1e999", "-Infinity", "NaN", '"\\ud800"', '"\\udfff\\ud800"', "[" * 100_000,
    '{"a":' * 100_000, "[" * 5000 + "]" * 5000, '"' + "x" * 100_000 + '"', "\x00", '{"step": 1, "step": 2}',
]  # fmt: skip
FILES = ("run.json", "outcome.json", "running.json", "metrics.jsonl", "cat-state/train_state.json", "dataset.json")
COMMANDS: list[tuple[str, ...]] = [
    ("list",), ("list", "--json"), ("show", "cat"), ("show", "cat", "--json"), ("show", "cat", "--all"),
    ("diff", "cat", "dog"), ("report", "cat"), ("explain", "cat"), ("explain", "cat", "--json"),
    ("resume", "cat", "--dry-run", "--no-vram-check"), ("rerun", "cat", "--dry-run"),
    ("rm", "cat"), ("rm", "cat", "--keep-result"),
]  # fmt: skip


def whole(folder: Path) -> Path:
    """A run with a file of every sort."""
    inputs = {"preset": "dim32-gc", "model": "/gone.safetensors", "data": "/gone", "output": str(folder.parent)}
    keep_with_files(folder, inputs=inputs, name=folder.name, dataset={"fingerprint": "f", "folders": []},
                    gpu={"index": 0, "name": "GPU", "total_gib": 8.0}, attempts=[{"from_step": 1}])  # fmt: skip
    state = folder / f"{folder.name}-state"
    for part in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl"):
        (state / part).write_bytes(b"part")
    (state / "model.safetensors").write_bytes((folder / f"{folder.name}.safetensors").read_bytes())
    (state / "train_state.json").write_text('{"current_step": 3}', encoding="utf-8")
    (folder / "dataset.json").write_text('{"datasets": []}', encoding="utf-8")
    (folder / "running.json").write_text('{"pid": 1, "created": 1.0}', encoding="utf-8")
    metrics(folder, 3)
    draw_samples(folder, "e000001_00_20260101")
    return folder


def places(content: object, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Every place in a JSON value."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [at, *(place for key, part in pairs for place in places(part, (*at, key)))]


def altered(text: str, chance: random.Random) -> str:
    """The JSON with an absurd value somewhere, or none any more."""
    mark = "<here>"
    content = json.loads(text)
    *parents, last = chance.choice(places(content)[1:])
    part = content
    for key in parents:
        part = part[key]
    if chance.random() < 0.1 and isinstance(part, dict):
        part["k" * 300] = part.pop(last)
    else:
        part[last] = mark if chance.random() < 0.5 else chance.choice(ODD)
    return json.dumps(content).replace(f'"{mark}"', chance.choice(RAW))


def judged(result: Result, *context: object) -> None:
    assert result.code in {0, 2, 3, 4, 5, 6, 7}, (context, result.stderr)
    assert "Traceback" not in result.stderr + result.stdout, context


@pytest.mark.parametrize("number", range(TRIES))
def test_no_absurd_value_in_a_record_is_a_traceback(tmp_path: Path, main: Main, number: int) -> None:
    """Once, an integer of 400 digits, `Infinity` steps and deep nesting were."""
    chance = random.Random(number)  # noqa: S311 - the same values each time
    whole(tmp_path / "output" / "dog")
    path = whole(tmp_path / "output" / "cat") / FILES[number % len(FILES)]
    lines = path.read_text(encoding="utf-8").splitlines()
    if path.suffix == ".jsonl":
        path.write_text("\n".join([altered(lines[0], chance), *lines[1:], ""]), encoding="utf-8")
    else:
        text = chance.choice(RAW) if chance.random() < 0.15 else altered("\n".join(lines), chance)
        path.write_text(text, encoding="utf-8")
    for command in COMMANDS if number < 12 else chance.sample(COMMANDS, 4):
        began = time.monotonic()
        judged(main("runs", *command), number, path.name, command)
        assert time.monotonic() - began < 10


@only_posix
@pytest.mark.parametrize(
    "name",
    ["outcome.json", "running.json", "running.lock", "metrics.jsonl", "cat-state/train_state.json", "train.log",
     "cat-state/model.safetensors", "cat-000001.safetensors", "cat-state/optimizer.bin", "dataset.json",
     "logs/events.out.tfevents.1", "sample/cat_e000001_00_20260101.png", "sample/cat_e000002_00_20260102.png"],
)  # fmt: skip
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_only_plain_files_of_a_run_are_opened(
    tmp_path: Path, main: Main, name: str, make: Callable[[Path], None]
) -> None:
    """A pipe would be waited for for ever, and a device never ends."""
    path = whole(tmp_path / "output" / "cat") / name
    whole(tmp_path / "output" / "dog")
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    make(path)
    for command in COMMANDS:
        judged(main("runs", *command), name, command)


@pytest.mark.parametrize("name", ["n" * 300, "n/" * 3000, "\udcff", "~" + "n" * 300, "\u202e\x1b[2J", " ", "."])
def test_a_name_of_any_form_is_answered_in_words(tmp_path: Path, main: Main, name: str) -> None:
    whole(tmp_path / "output" / "cat")
    commands = [(*command[:1], name, *command[2:]) for command in COMMANDS if len(command) > 1 and "cat" in command]
    for command in (*commands, ("list", "--output", name), ("tensorboard", name), ("rerun", "cat", "--name", name),
                    ("report", "cat", "--to", name)):  # fmt: skip
        judged(main("runs", *command), command)
