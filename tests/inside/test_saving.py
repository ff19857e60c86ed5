"""inside/saving.py with an accelerate and a bar of the test's own: when a state is saved, and when the process ends."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest


class Bar:
    """As tqdm's: one that is not shown keeps no name."""

    def __init__(self, _over: object = None, desc: str = "", disable: bool = False) -> None:
        if not disable:
            self.desc = desc

    def update(self, _by: int = 1) -> None: ...

    def set_postfix(self, **_named: object) -> None: ...


class Training:
    """A training of one or two processes, as sd-scripts' loop calls bar and accelerate."""

    def __init__(self, saving: ModuleType, accelerator: object, output: Path, bar: type[Bar]) -> None:
        self.saver, self.accelerator, self.output = saving.Saver(output, "cat"), accelerator, output
        saving.hook(self.saver)
        accelerator.__init__()
        self.steps = 0
        self.bar = bar(range(9), desc="steps", disable=True)

    def step(self) -> None:
        self.bar.update(1)
        self.steps += 1
        self.accelerator.step = self.steps
        self.bar.set_postfix(avr_loss=1.0)

    @property
    def states(self) -> list[str]:
        return sorted(path.name for path in self.output.glob("*-state*"))


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Training:
    bar, accelerate, tqdm = type("Own", (Bar,), {}), ModuleType("accelerate"), ModuleType("tqdm")

    class Accelerator:
        """The first process of some."""

        num_processes, is_main_process, device, step, is_full = 1, True, "cpu", 0, False

        def wait_for_everyone(self) -> None: ...

        def save_state(self, output: str) -> None:
            Path(output).mkdir()
            if self.is_full:
                raise OSError("no space left")
            Path(output, "train_state.json").write_text(json.dumps({"current_step": self.step}), encoding="utf-8")

    vars(accelerate).update(Accelerator=Accelerator)
    vars(tqdm).update(tqdm=bar)
    monkeypatch.setitem(sys.modules, "accelerate", accelerate)
    monkeypatch.setitem(sys.modules, "tqdm", tqdm)
    monkeypatch.delitem(sys.modules, "sdxl_train_cli.inside.saving", raising=False)
    saving = importlib.import_module("sdxl_train_cli.inside.saving")
    monkeypatch.delitem(sys.modules, "sdxl_train_cli.inside.saving")
    return Training(saving, Accelerator(), tmp_path, bar)


def test_the_step_is_ended_and_its_state_is_saved_before_the_process_ends(training: Training) -> None:
    training.step()
    training.saver.ask(15, None)
    training.step()

    assert training.states == ["cat-step00000002-state"]
    with pytest.raises(SystemExit) as ended:
        training.step()
    assert (ended.value.code, training.steps) == (143, 2)  # the step after it is not counted


def test_a_state_that_was_saved_so_takes_the_place_of_the_one_before(training: Training) -> None:
    (training.output / "cat-step00000001-state").mkdir()  # sd-scripts' own
    before = training.output / "cat-000001-state"
    before.mkdir()
    (before / "saved_on_request").touch()
    training.step()
    training.saver.ask(15, None)
    training.step()

    assert training.states == ["cat-step00000001-state", "cat-step00000002-state"]


def test_a_full_disk_leaves_no_half_of_a_state(training: Training, capsys: pytest.CaptureFixture[str]) -> None:
    training.step()
    training.accelerator.is_full = True
    training.saver.ask(15, None)
    training.step()

    assert training.states == []
    assert "no state saved: no space left" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        training.step()


@pytest.mark.parametrize(("other_is_asked", "has_file"), [(True, False), (False, True)])
def test_several_processes_end_after_the_same_step(
    training: Training, other_is_asked: bool, has_file: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = ModuleType("torch")

    def all_reduce(told: list[float], op: str) -> None:
        assert op == "max"
        told[0] = max(told[0], float(other_is_asked))

    class Tensor(list[float]):
        def item(self) -> float:
            return self[0]

    operations = SimpleNamespace(MAX="max")
    vars(torch).update(
        tensor=lambda values, device: Tensor(values) if device else None,
        distributed=SimpleNamespace(all_reduce=all_reduce, ReduceOp=operations),
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    training.accelerator.num_processes = 2
    if has_file:
        (training.output / "stop-asked").touch()

    training.step()

    assert training.states == ["cat-step00000001-state"]
    with pytest.raises(SystemExit):
        training.step()
