"""A run's first checkpoint and its result are looked at; what is of no use is an error, and the file stays."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tensor_files

from sdxl_train_cli import process, signals
from sdxl_train_cli.environment.environment import Environment, EnvironmentFiles
from sdxl_train_cli.errors import TrainingError
from sdxl_train_cli.inspection import weight_facts
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.run import training
from sdxl_train_cli.run.examination import Examiner, ResultExamined
from sdxl_train_cli.run.supervision import Event
from sdxl_train_cli.run.training import RunResult
from sdxl_train_cli.sdscripts.progress import Step

pytestmark = pytest.mark.skipif(process.WINDOWS, reason="its environment's Python is a script of sh")

TRAINER = """
import shutil, sys, time
folder, first, last = sys.argv[1:]
def step(number):
    print(f"steps:  10%|#| {number}/6 [00:01<00:02,  1.00s/it, avr_loss=0.1{number}]", flush=True)
def save(source, name):
    print(f"saving checkpoint: {folder}/{name}.safetensors", flush=True)
    shutil.copy(source, f"{folder}/{name}.safetensors")
step(1), step(2)
save(first, "my-step00000002")
step(3), time.sleep(0.3), step(4), step(5), step(6)
save(last, "my")
print("model saved.", flush=True)
"""


@dataclass
class Trainer:
    """A trainer that writes two given files."""

    folder: Path
    environment: Environment
    heard: list[Event] = field(default_factory=list)

    @property
    def run(self) -> Run:
        return Run(self.folder / "my", "my")

    @property
    def outcome(self) -> dict[str, object]:
        return json.loads(self.run.outcome.read_text(encoding="utf-8"))

    def watch(
        self, first: Path, last: Path, kind: Kind = Kind.LORA, base: Path | None = None, **settings: str
    ) -> RunResult:
        self.run.folder.mkdir()
        (self.folder / "trainer.py").write_text(TRAINER, encoding="utf-8")
        options = {name: Setting(value=value, origin=Origin("test")) for name, value in settings.items()}
        recipe = Recipe(kind=kind, name="test", description="", settings=options)
        return training.watch(
            self.run,
            [sys.executable, str(self.folder / "trainer.py"), str(self.run.folder), str(first), str(last)],
            cwd=self.folder,
            env={},
            on_event=self.heard.append,
            examiner=Examiner(self.environment, recipe, str(base or self.folder / "base.safetensors")),
        )

    @property
    def examined(self) -> list[ResultExamined]:
        return [event for event in self.heard if isinstance(event, ResultExamined)]


@pytest.fixture
def trainer(tmp_path: Path, installed: Environment) -> Trainer:
    """With an environment that says that it trains; its Python is this one, which has numpy."""
    parts = EnvironmentFiles(tmp_path / "environment")
    parts.python.parent.mkdir(parents=True)
    parts.checkout.mkdir()
    parts.python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    parts.python.chmod(0o755)
    lock = installed.lock.model_copy(update={"toolchain": "test"})
    return Trainer(tmp_path, Environment(folder=parts.folder, lock=lock))


def lora(folder: Path, name: str, up: float = 1.0) -> Path:
    return tensor_files.write(folder / f"{name}.safetensors", tensor_files.lora(up=up))


def full(folder: Path, name: str, moved: float = 0.0) -> Path:
    return tensor_files.write(folder / f"{name}.safetensors", tensor_files.checkpoint(moved=moved, part="model."))


def failed(
    trainer: Trainer, first: Path, last: Path, kind: Kind = Kind.LORA, base: Path | None = None
) -> TrainingError:
    with pytest.raises(TrainingError) as raised:
        trainer.watch(first, last, kind, base)
    assert raised.value.exit_code == 7
    assert trainer.run.result.read_bytes() == last.read_bytes()
    assert str(trainer.run.result) in str(raised.value.problems[0].hint)
    return raised.value


def test_a_run_that_learned_says_so_and_records_it(trainer: Trainer, tmp_path: Path) -> None:
    result = trainer.watch(lora(tmp_path, "first"), lora(tmp_path, "last", up=2.0))

    assert str(result.found).startswith("learned: 3 of 3 U-Net modules changed; read by")
    assert [(one.file, one.is_result, one.problems) for one in trainer.examined] == [
        ("my-step00000002.safetensors", False, ()),
        ("my.safetensors", True, ()),
    ]
    assert [one["step"] for one in trainer.outcome["examined"]] == [2, 6]  # type: ignore[attr-defined]


def test_the_first_checkpoint_that_learned_nothing_warns_while_the_run_goes_on(
    trainer: Trainer, tmp_path: Path
) -> None:
    trainer.watch(lora(tmp_path, "first", up=0.0), lora(tmp_path, "last"))

    first, result = trainer.examined
    assert "nothing was learned: all 3 modules are still as they started" in first.problems[0].message
    assert result.problems == ()
    assert trainer.outcome["outcome"] == "done"
    assert trainer.outcome["examined"][0]["findings"][0]["trouble"] == "nothing learned"  # type: ignore[index]


def test_a_result_that_learned_nothing_is_an_error_and_the_file_stays(trainer: Trainer, tmp_path: Path) -> None:
    error = failed(trainer, lora(tmp_path, "first", up=0.0), lora(tmp_path, "last", up=0.0))

    assert "the run ended, but nothing was learned" in str(error)
    assert (trainer.outcome["outcome"], trainer.outcome["exit_code"]) == ("failed", 0)
    assert len(trainer.outcome["examined"]) == 2  # type: ignore[arg-type]


def test_a_result_that_is_not_a_number_is_an_error(trainer: Trainer, tmp_path: Path) -> None:
    tensors = tensor_files.lora()
    next(iter(tensors.values()))[0, 0] = np.nan
    error = failed(trainer, lora(tmp_path, "first"), tensor_files.write(tmp_path / "nan.safetensors", tensors))

    assert "1 of 9 tensors hold NaN or infinity" in str(error)


def test_a_result_whose_alpha_is_infinite_is_an_error(trainer: Trainer, tmp_path: Path) -> None:
    last = tensor_files.write(tmp_path / "inf.safetensors", tensor_files.lora(alpha=np.inf))

    assert "3 of 9 tensors hold NaN or infinity" in str(failed(trainer, lora(tmp_path, "first"), last))


def test_a_checkpoint_that_nobody_reads_is_an_error(trainer: Trainer, tmp_path: Path) -> None:
    renamed = {
        name.replace("_model.", "_model._orig_mod.", 1): values
        for name, values in tensor_files.checkpoint(moved=0.01, part="model.").items()
    }
    last = tensor_files.write(tmp_path / "last.safetensors", renamed)
    error = failed(trainer, full(tmp_path, "first", 0.005), last, Kind.DREAMBOOTH, full(tmp_path, "base"))

    assert "none of ComfyUI, Forge, A1111, diffusers can read it" in str(error)


def test_a_checkpoint_is_compared_with_its_base(trainer: Trainer, tmp_path: Path) -> None:
    base = full(tmp_path, "base")
    error = failed(trainer, full(tmp_path, "first"), full(tmp_path, "last"), Kind.DREAMBOOTH, base)

    assert "all 6 tensors that were compared are the base model's own" in str(error)


def test_a_checkpoint_that_differs_from_its_base_has_learned(trainer: Trainer, tmp_path: Path) -> None:
    result = trainer.watch(
        full(tmp_path, "first", 0.001), full(tmp_path, "last", 0.002), Kind.DREAMBOOTH, full(tmp_path, "base")
    )

    assert str(result.found).startswith("learned: 100 % of the U-Net's sampled weights changed")


def test_a_result_that_has_not_moved_since_the_checkpoint_before_warns(trainer: Trainer, tmp_path: Path) -> None:
    same = lora(tmp_path, "same")
    trainer.watch(same, same)

    assert "not one weight has changed since the checkpoint before" in trainer.examined[-1].problems[0].message


def test_a_run_that_goes_on_from_a_lora_and_leaves_it_as_it_was_is_an_error(trainer: Trainer, tmp_path: Path) -> None:
    same = lora(tmp_path, "same")
    with pytest.raises(TrainingError, match="all 9 tensors are those of network_weights"):
        trainer.watch(same, same, network_weights=str(same))


def test_an_environment_that_can_not_look_fails_no_run(trainer: Trainer, tmp_path: Path) -> None:
    trainer.environment.python.write_text("#!/bin/sh\necho broken >&2\nexit 3\n", encoding="utf-8")
    result = trainer.watch(lora(tmp_path, "first", up=0.0), lora(tmp_path, "last", up=0.0))

    assert result.found == "not looked at: the environment does not work: broken"
    assert trainer.outcome["outcome"] == "done"


def test_the_run_goes_on_while_its_first_checkpoint_is_looked_at(trainer: Trainer, tmp_path: Path) -> None:
    slow = f'#!/bin/sh\nsleep 1\nexec "{sys.executable}" "$@"\n'
    trainer.environment.python.write_text(slow, encoding="utf-8")
    trainer.watch(lora(tmp_path, "first"), lora(tmp_path, "last"))

    steps = [number for number, event in enumerate(trainer.heard) if isinstance(event, Step) and event.step == 5]
    assert steps[0] < trainer.heard.index(trainer.examined[0])
    assert trainer.examined[0].file == "my-step00000002.safetensors"


def test_a_signal_at_the_end_stops_the_look_and_not_the_run(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = weight_facts.examine

    def stopped(installed: Environment, file: Path, **options: object) -> object:
        if file.name == "my.safetensors":
            raise signals.Stopped(2)
        return real(installed, file, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(weight_facts, "examine", stopped)
    result = trainer.watch(lora(tmp_path, "first"), lora(tmp_path, "last"))

    assert result.found == "not looked at: it was stopped"
    assert trainer.outcome["outcome"] == "done"
