"""inside/several.py with an accelerate of the test's own: what each process draws, saves and wraps."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sdxl_train_cli.inside import several


@dataclass
class Accelerator:
    """One process of two."""

    process_index: int = 0
    num_processes: int = 2
    called: list[Any] = field(default_factory=list)

    @property
    def is_main_process(self) -> bool:
        return self.process_index == 0

    def wait_for_everyone(self) -> None:
        self.called.append("waited")

    def save_state(self, output_dir: str) -> str:
        self.called.append(output_dir)
        return output_dir

    def prepare(self, *given: str) -> tuple[str, ...]:
        return given

    def prepare_model(self, _model: object, _placement: object = None, evaluation: bool = False) -> bool:
        return evaluation


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> type[Accelerator]:
    """The class as the script changes it, with modules that stand for torch, numpy and accelerate."""
    seeds = [7]
    torch, numpy, utils = ModuleType("torch"), ModuleType("numpy"), ModuleType("accelerate.utils")
    vars(torch).update(
        initial_seed=lambda: seeds[-1],
        manual_seed=seeds.append,
        seeds=seeds,
        get_rng_state=lambda: "torch",
        cuda=SimpleNamespace(is_available=lambda: False),
        save=lambda state, path: path.write_text(str(state["number"]), encoding="utf-8"),
    )
    vars(numpy).update(random=SimpleNamespace(get_state=lambda: "numpy"))
    vars(utils).update(gather_object=lambda own: [{**own[0], "number": number} for number in range(2)])
    for module in (torch, numpy, utils):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    changed = type("Changed", (Accelerator,), {})
    several.install(changed)
    return changed


def test_the_first_process_saves_the_random_numbers_of_all(accelerator: type[Accelerator], tmp_path: Path) -> None:
    first = accelerator()
    first.wait_for_everyone()
    assert first.save_state(str(tmp_path)) == str(tmp_path)

    assert first.called == ["waited", str(tmp_path)]
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {"random_states_1.pkl": "1"}


def test_the_other_processes_save_nothing(accelerator: type[Accelerator], tmp_path: Path) -> None:
    second = accelerator(process_index=1)
    second.wait_for_everyone()
    second.save_state(str(tmp_path))

    assert not list(tmp_path.iterdir())


def test_random_numbers_have_accelerates_names(accelerator: type[Accelerator]) -> None:
    assert several.random_states(accelerator()).keys() == {
        "step", "random_state", "numpy_random_seed", "torch_manual_seed",
    }  # fmt: skip


@pytest.mark.parametrize(("index", "seeds"), [(0, [7]), (1, [7, 8])])
def test_each_process_draws_its_own_noise_and_the_first_that_of_one_alone(
    accelerator: type[Accelerator], index: int, seeds: list[int]
) -> None:
    before = random.getstate()
    try:
        process = accelerator(process_index=index)
        assert process.prepare("unet") == ("unet",)
        process.prepare("network")
    finally:
        random.setstate(before)

    assert sys.modules["torch"].seeds == seeds


@pytest.mark.parametrize("trains", [True, False])
def test_a_frozen_model_is_not_wrapped(accelerator: type[Accelerator], trains: bool) -> None:
    model = SimpleNamespace(parameters=lambda: [SimpleNamespace(requires_grad=trains)])

    assert accelerator().prepare_model(model) is not trains
