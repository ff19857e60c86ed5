"""One run watched to its end: for each way in which the stand-in can fail, the right words and what is left on disk."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import fake_nvml
import psutil
import pytest
from event_file import record
from patience import lives, processes_with, until

from sdxl_train_cli import process, signals
from sdxl_train_cli.errors import TrainingError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.records import metrics, runs
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.run import preparation, repeating, supervision, training
from sdxl_train_cli.run.early_spill import UsualSpeed
from sdxl_train_cli.run.guards import Alarm, Guard
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.supervision import Conditions, Event
from sdxl_train_cli.run.training import PrunedError, RunResult, StoppedError
from sdxl_train_cli.sdscripts import checkpoint
from sdxl_train_cli.sdscripts.progress import CheckpointSaving, NoData, Step, TrainerPhase

only_posix = pytest.mark.skipif(process.WINDOWS, reason="sends POSIX signals")


@dataclass
class Trainer:
    """A run of the stand-in that is ready to start."""

    prepared: Prepared
    heard: list[Event] = field(default_factory=list)

    @property
    def run(self) -> Run:
        return self.prepared.run

    def watch(
        self,
        fail: str = "",
        on_event: Callable[[Event], None] | None = None,
        conditions: Conditions = Conditions(),  # noqa: B008 - it is frozen
        **environ: str,
    ) -> RunResult:
        prepared = self.prepared
        runs.write(prepared.run, repeating.record(prepared), prepared.pictures)
        return training.watch(
            prepared.run,
            prepared.argv,
            cwd=prepared.environment.checkout,
            env={**prepared.variables, "STANDIN_FAIL": fail, **environ},
            on_event=on_event or self.heard.append,
            conditions=conditions,
        )

    def fails(
        self,
        fail: str,
        conditions: Conditions = Conditions(),  # noqa: B008 - it is frozen
        **environ: str,
    ) -> TrainingError:
        with pytest.raises(TrainingError) as raised:
            self.watch(fail, conditions=conditions, **environ)
        assert raised.value.exit_code == 7
        return raised.value

    def stopped(
        self, fail: str, when: Callable[[Event], bool], signum: int = signal.SIGINT, **environ: str
    ) -> StoppedError:
        """Stop at the first event that fits, as a signal at that moment would; later ones go by."""
        sent = False

        def stop(event: Event) -> None:
            nonlocal sent
            if when(event) and not sent:
                sent = True
                raise signals.Stopped(signum)

        with pytest.raises(StoppedError) as raised:
            self.watch(fail, stop, **environ)
        return raised.value

    @property
    def outcome(self) -> dict[str, object]:
        return json.loads(self.run.outcome.read_text(encoding="utf-8"))

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.run.folder.glob("*.safetensors*"))


@pytest.fixture
def trainer(tmp_path: Path, home: Path, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    monkeypatch.setattr(training, "LEAST_PATIENCE_SECONDS", 0.2)  # a stand-in that hangs never ends its step
    steps = {"max_train_steps": 6, "save_every_n_steps": 2}
    choices = Choices(
        kind=Kind.LORA,
        preset="dim32-gc",
        model=str(model),
        data=pictures,
        output=tmp_path / "output",
        name="my",
        overrides=tuple(Override(option, value, "test") for option, value in steps.items()),
        on_processor=True,
    )
    return Trainer(preparation.prepare(choices, Home(home), tmp_path / "presets"))


WHOLE = ["my-step00000002.safetensors", "my-step00000004.safetensors", "my-step00000006.safetensors"]


def test_a_run_that_delivers_gives_its_file_steps_and_loss(trainer: Trainer) -> None:
    outcome = trainer.watch()

    assert outcome.result == trainer.run.folder / "my.safetensors"
    assert outcome.steps == 6
    assert outcome.loss == pytest.approx(0.09)
    assert checkpoint.read_header(outcome.result).metadata["ss_output_name"] == "my"
    assert trainer.files == [*WHOLE, "my.safetensors"]
    assert trainer.outcome["outcome"] == "done"
    assert trainer.outcome["steps"] == 6
    assert not processes_with(str(trainer.run.folder))


def test_events_come_in_the_order_of_the_run(trainer: Trainer) -> None:
    trainer.watch()
    steps = [event.step for event in trainer.heard if isinstance(event, Step)]

    assert steps == list(range(7))
    assert [Path(event.path).name for event in trainer.heard if isinstance(event, CheckpointSaving)] == [
        *WHOLE,
        "my.safetensors",
    ]
    assert TrainerPhase("training") in trainer.heard


def test_the_log_holds_all_that_was_printed(trainer: Trainer) -> None:
    trainer.watch()
    log = trainer.run.log.read_bytes()

    assert b"running training" in log
    assert log.count(b"\rsteps:") == 7
    assert b"model saved." in log


@pytest.mark.parametrize(
    ("fail", "words"),
    [
        ("exit-0-silently", "training failed before the first step: the trainer ended early and gave no reason"),
        ("tokenizer", "training failed before the first step: a file had to be downloaded from the Hugging Face hub"),
        ("oom@3", "training failed at step 3 of 6: the GPU's memory ran out"),
        ("crash@3", "training failed at step 3 of 6: RuntimeError: the stand-in was told to crash"),
        ("sigkill@3", "training failed at step 3 of 6: the computer's own memory ran out, or something killed"),
        ("disk-full@3", "training failed at step 3 of 6: the disk is full"),
        ("no-model-saved", "training failed at step 6 of 6: the trainer ended early and gave no reason"),
        ("saved-but-absent", "the trainer said it was done, but"),
        ("nan", "stopped at step 4 of 6: the loss is not a number since step 1"),
        ("nan@6", "the loss is not a number"),
    ],
)
def test_a_failure_is_told_with_its_cause_and_recorded(trainer: Trainer, fail: str, words: str) -> None:
    error = trainer.fails(fail)

    assert str(error).startswith(words)
    assert error.problems[0].hint
    assert trainer.outcome["outcome"] == "failed"
    assert str(trainer.outcome["cause"]) == str(error)
    assert not processes_with(str(trainer.run.folder))


def test_the_hint_of_a_failure_names_the_log(trainer: Trainer) -> None:
    assert str(trainer.run.log) in str(trainer.fails("oom").problems[0].hint)


def test_pictures_that_vanish_before_the_start_are_a_failure_though_sd_scripts_ends_with_0(trainer: Trainer) -> None:
    for picture in trainer.prepared.pictures.subsets[0].image_dir.glob("*.png"):
        picture.unlink()

    error = trainer.fails("")

    assert "sd-scripts found no picture to train on" in str(error)
    assert trainer.outcome["exit_code"] == 0
    assert NoData() in trainer.heard


def test_a_checkpoint_that_the_full_disk_cut_off_is_set_aside(trainer: Trainer) -> None:
    trainer.fails("disk-full@3")

    assert trainer.files == [WHOLE[0], WHOLE[1] + ".incomplete"]


def test_checkpoints_of_a_failed_run_are_kept(trainer: Trainer) -> None:
    trainer.fails("crash@5")

    assert trainer.files == WHOLE[:2]


@pytest.mark.parametrize("fail", ["garbage", "ignore-sigterm"])
def test_odd_but_good_runs_deliver(trainer: Trainer, fail: str) -> None:
    assert trainer.watch(fail).steps == 6


@only_posix
def test_a_process_that_the_trainer_leaves_behind_neither_hangs_us_nor_lives_on(trainer: Trainer) -> None:
    assert trainer.watch("grandchild").steps == 6

    told = re.search(rb"grandchild (\d+)", trainer.run.log.read_bytes())
    assert told is not None
    until(lambda: not lives(int(told[1])))


@only_posix
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_names_the_step_and_the_last_checkpoint(trainer: Trainer, signum: int) -> None:
    stopped = trainer.stopped("hang@3", lambda event: isinstance(event, Step) and event.step == 3, signum)

    assert str(stopped) == "stopped at step 3 of 6"
    assert stopped.problems[0].hint == (
        f"to resume: sdxl-train runs resume {trainer.run.folder}\nthe last checkpoint: {trainer.run.folder / WHOLE[0]}"
    )
    assert stopped.exit_code == 128 + signum
    assert trainer.outcome["outcome"] == "stopped"
    assert trainer.outcome["steps"] == 3
    assert not processes_with(str(trainer.run.folder))


def test_a_stop_lets_the_step_end(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "LEAST_PATIENCE_SECONDS", 30.0)

    stopped = trainer.stopped("", lambda event: isinstance(event, Step) and event.step == 3, STANDIN_STEP_SECONDS="0.3")

    assert str(stopped) == "stopped at step 4 of 6"
    assert [metric.step for metric in metrics.load(trainer.run.metrics)] == [1, 2, 3, 4]


def test_a_run_that_its_sweep_stops_early_keeps_its_files_and_says_why(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(training, "LEAST_PATIENCE_SECONDS", 30.0)

    def ask() -> str | None:
        return "behind" if (trainer.run.folder / WHOLE[0]).is_file() else None

    with pytest.raises(PrunedError) as raised:
        trainer.watch(conditions=Conditions(ends_early=ask), STANDIN_STEP_SECONDS="0.4")

    assert (str(raised.value), raised.value.exit_code) == ("behind", 0)
    assert (trainer.outcome["outcome"], trainer.outcome["pruned"]) == ("stopped", "behind")
    assert trainer.files == WHOLE[: len(trainer.files)]
    assert 1 <= len(trainer.files) < 3
    assert not processes_with(str(trainer.run.folder))


def test_a_stop_while_the_result_is_being_saved_lets_it_be_saved(trainer: Trainer) -> None:
    sent = False

    def stop(event: Event) -> None:
        nonlocal sent
        if isinstance(event, Step) and event.step == 6 and not sent:
            sent = True
            raise signals.Stopped(signal.SIGINT)

    outcome = trainer.watch("", stop, STANDIN_LAST_SAVE_SECONDS="1.0")

    assert sent
    assert outcome.steps == 6
    assert checkpoint.read_header(trainer.run.result)
    assert trainer.outcome["outcome"] == "done"


def test_a_second_stop_while_the_result_is_being_saved_ends_at_once(trainer: Trainer) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Step) and event.step == 6:
            raise signals.Stopped(signal.SIGINT)
        if isinstance(event, TrainerPhase) and "Ctrl-C again" in event.words:
            raise signals.Stopped(signal.SIGINT)

    began = time.monotonic()
    with pytest.raises(StoppedError):
        trainer.watch("", stop, STANDIN_LAST_SAVE_SECONDS="60")

    assert time.monotonic() - began < 50
    assert trainer.outcome["outcome"] == "stopped"
    assert not processes_with(str(trainer.run.folder))


def test_a_stop_waits_for_what_the_trainer_writes_between_telling_a_step_and_logging_it(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was ended there once: the state of the step was whole, and a resumed run went on from it without its loss."""
    monkeypatch.setattr(training, "LEAST_PATIENCE_SECONDS", 30.0)
    events = trainer.run.logs / "events.out.tfevents.1"
    timers: list[threading.Timer] = []

    def logged(step: int) -> None:
        events.parent.mkdir(parents=True, exist_ok=True)
        with events.open("ab") as file:
            file.write(record(step, {"loss/current": step / 8, "lr/unet": 1e-4}))

    def log_late(event: Event) -> bool:
        if isinstance(event, Step) and event.step > 0:
            timers.append(threading.Timer(0.3, logged, (event.step,)))
            timers[-1].start()
        return isinstance(event, Step) and event.step == 3

    told = trainer.stopped("", log_late, STANDIN_STEP_SECONDS="1.0")

    assert str(told) == "stopped at step 4 of 6"
    assert [metric.loss for metric in metrics.load(trainer.run.metrics)] == [0.125, 0.25, 0.375, 0.5]


def test_a_run_that_a_guard_ends_names_the_last_checkpoint_from_before_the_trouble(trainer: Trainer) -> None:
    error = trainer.fails("nan@3", STANDIN_STEP_SECONDS="0.1")

    assert str(error).startswith("stopped at step ")
    assert "not a number since step 3" in str(error)
    assert str(error.problems[0].hint).endswith(f"the last good checkpoint: {trainer.run.folder / WHOLE[0]}")


def test_a_guard_that_is_switched_off_lets_the_run_go_on(trainer: Trainer) -> None:
    off = frozenset({Guard.NAN})

    assert "the loss is not a number" in str(trainer.fails("nan", conditions=Conditions(guards_off=off)))


def test_every_step_has_its_figures(trainer: Trainer) -> None:
    trainer.watch()

    found = metrics.load(trainer.run.metrics)
    assert [metric.step for metric in found] == [1, 2, 3, 4, 5, 6]
    assert found[-1].average_loss == pytest.approx(0.09)
    assert all(metric.seconds is not None and metric.seconds > 0 for metric in found)


def test_who_watches_a_run_stands_in_its_folder_while_it_goes_on(trainer: Trainer) -> None:
    seen = set()
    trainer.watch("", lambda _event: seen.add(json.loads(trainer.run.alive.read_text())["pid"]))

    assert seen == {os.getpid()}
    assert not trainer.run.alive.exists()


def test_a_resumed_run_counts_on(trainer: Trainer) -> None:
    trainer.watch("", conditions=Conditions(first_step=10))

    assert [event.step for event in trainer.heard if isinstance(event, Step)] == [10, *range(11, 17)]


def test_a_stop_before_the_first_checkpoint_says_so(trainer: Trainer) -> None:
    stopped = trainer.stopped("hang@1", lambda event: isinstance(event, Step) and event.step == 1)

    assert stopped.problems[0].hint == "no checkpoint was saved yet"


def test_a_checkpoint_that_the_stop_cut_off_is_set_aside(trainer: Trainer) -> None:
    def half_written(event: Event) -> bool:
        if not isinstance(event, CheckpointSaving) or "00000004" not in event.path:
            return False
        return bool(until(lambda: Path(event.path).exists() and Path(event.path).stat().st_size))

    stopped = trainer.stopped("half-file@4", half_written)

    assert trainer.files == [WHOLE[0], WHOLE[1] + ".incomplete"]
    assert str(stopped.problems[0].hint).endswith(f"the last checkpoint: {trainer.run.folder / WHOLE[0]}")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_log_that_cannot_be_written_costs_the_log_and_not_the_run(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "log", Path("/dev/full"))

    assert trainer.watch().steps == 6


def test_a_full_disk_does_not_hide_the_failure_behind_the_record(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, writing outcome.json on the full disk raised, and the cause was never told."""
    monkeypatch.setattr(Run, "outcome", trainer.run.folder / "absent" / "outcome.json")

    assert "the disk is full" in str(trainer.fails("disk-full"))


@only_posix
def test_the_trainer_runs_in_a_group_of_its_own_so_that_a_terminals_ctrl_c_asks_us_first(trainer: Trainer) -> None:
    groups = set()

    def look(event: Event) -> None:
        if isinstance(event, Step):
            pids = processes_with(str(trainer.run.folder))
            groups.update(os.getpgid(pid) for pid in pids if psutil.pid_exists(pid))

    trainer.watch("", look, STANDIN_STEP_SECONDS="0.1")

    assert len(groups) == 1
    assert os.getpgrp() not in groups


@only_posix
def test_a_stop_tells_the_last_step_that_was_made_and_not_the_last_that_was_heard(trainer: Trainer) -> None:
    """Once, a trainer that printed faster than it was heard was recorded as stopped at step 3."""
    made = trainer.run.folder / "my-state"  # written once the last step has been told

    def slow(event: Event) -> bool:
        return isinstance(event, Step) and event.step == 1 and bool(until(made.exists))

    stopped = trainer.stopped("", slow, signal.SIGTERM, STANDIN_LAST_SAVE_SECONDS="60")

    assert str(stopped) == "stopped at step 6 of 6"
    assert trainer.outcome["steps"] == 6


@only_posix
def test_a_pipe_among_the_samples_and_the_events_hangs_nobody(trainer: Trainer) -> None:
    def lay(event: Event) -> None:
        if isinstance(event, Step) and event.step == 1:
            trainer.run.samples.mkdir(exist_ok=True)
            trainer.run.logs.mkdir(exist_ok=True)
            os.mkfifo(trainer.run.samples / "my_000001_00_20260101000000.png")
            os.mkfifo(trainer.run.logs / "events.out.tfevents.9")
            os.mkfifo(trainer.run.folder / "my-step00000099.safetensors")

    assert trainer.watch("", lay).steps == 6


@pytest.mark.parametrize(("used", "usual", "is_told"), [(11.9, 0.01, True), (9.0, 0.01, False), (11.9, 5.0, False)])
def test_memory_that_spills_from_the_first_step_is_told(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, used: float, usual: float, is_told: bool
) -> None:
    """A desktop holds 1.5 GB of the card, so that the run itself never has all of it."""
    card = fake_nvml.Card(used_gib=1.5)
    fake_nvml.install(monkeypatch, card)
    monkeypatch.setattr(supervision, "LOOK_SECONDS", 0.02)

    def fill(event: Event) -> None:
        card.used_gib = used
        trainer.heard.append(event)

    conditions = Conditions(gpu_index=0, usual=UsualSpeed(usual, "earlier runs"))
    trainer.watch("", fill, conditions=conditions, STANDIN_STEP_SECONDS="0.2")

    alarms = [event for event in trainer.heard if isinstance(event, Alarm) and event.guard is Guard.SPEED]
    assert len(alarms) == is_told
    assert all("the GPU's memory is full (11.9 of 12.0 GB)" in alarm.problem.message for alarm in alarms)
