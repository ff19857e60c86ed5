"""`--fast`: kept in the run's record, refused where it does not exist, and nothing for a trainer without torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Cli

from sdxl_train_cli.commands import train
from sdxl_train_cli.environment.environment import INSIDE, Environment
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import measurements
from sdxl_train_cli.memory.measurements import Measurement
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.run import preparation, run_choices


def choices(model: Path, pictures: Path, kind: Kind = Kind.LORA, *, fast: bool = True) -> run_choices.Choices:
    texts = {**dict.fromkeys(("preset", "output", "name", "vae", "reg", "trigger")), "model": str(model),
             "data": str(pictures)}  # fmt: skip
    return run_choices.choose(
        kind, texts, [], repeats=None, gpu_index=None, gpu_memory_gib=80.0, check_vram=True, fast=fast
    )  # fmt: skip


def play_real(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in, taken for an environment that trains."""
    monkeypatch.setattr(Environment, "trains", property(lambda _self: True))
    monkeypatch.setattr(Environment, "has_module", lambda *_: True)


def test_a_fast_run_that_is_made_again_is_fast_again(cli: Cli, tmp_path: Path, model: Path, pictures: Path) -> None:
    line = ["--model", str(model), "--data", str(pictures), "--no-vram-check", "--steps", "2", "--name", "cat"]
    assert cli("lora", *line, "--fast").code == 0
    assert cli("runs", "rerun", "cat").code == 0

    for name in ("cat", "cat-2"):
        record = json.loads((tmp_path / "output" / name / "run.json").read_text(encoding="utf-8"))
        assert record["inputs"]["fast"] is True


def test_dreambooth_is_not_trained_fast(model: Path, pictures: Path) -> None:
    with pytest.raises(UsageError, match="--fast is for LoRA"):
        choices(model, pictures, Kind.DREAMBOOTH)


@pytest.mark.usefixtures("installed")
def test_the_real_trainer_is_started_through_fast_and_a_stand_in_is_not(
    home: Path, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = str(INSIDE / "fast.py")
    asked = choices(model, pictures)
    assert fast not in preparation.prepare(asked, Home(home), home).argv

    play_real(monkeypatch)
    argv = preparation.prepare(asked, Home(home), home).argv

    at = argv.index(fast)
    assert argv[at + 1] == "default"
    assert Path(argv[at + 2]).name == "sdxl_train_network.py"


@pytest.mark.usefixtures("installed")
def test_what_a_fast_run_took_is_remembered_as_a_fast_run(
    home: Path, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play_real(monkeypatch)
    remembered: list[Measurement] = []
    monkeypatch.setattr(measurements, "add", lambda _home, *found: remembered.extend(found))
    for fast in (True, False):
        prepared = preparation.prepare(choices(model, pictures, fast=fast), Home(home), home)
        train.remember(prepared, 13.1, 0.2)

    assert [one.fast for one in remembered] == [True, False]


@pytest.mark.usefixtures("installed")
def test_a_plain_run_is_told_what_fast_gained_on_this_gpu(
    tmp_path: Path, home: Path, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play_real(monkeypatch)
    remembered: list[Measurement] = []
    monkeypatch.setattr(measurements, "add", lambda _home, *found: remembered.extend(found))
    monkeypatch.setattr(measurements, "load", lambda _home: (remembered, []))
    for fast, seconds in ((True, 0.2), (False, 1.0)):
        train.remember(preparation.prepare(choices(model, pictures, fast=fast), Home(home), home), 13.1, seconds)
    plain, fast = (
        preparation.prepare(choices(model, pictures, fast=one), Home(home), tmp_path).notes for one in (False, True)
    )

    words = "with --fast these settings trained 5.0 times as many pictures a second on this GPU"
    assert words in plain
    assert words not in fast
