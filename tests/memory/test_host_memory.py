"""A model that does not fit into the computer's memory is warned of before it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_train_cli.environment import machine
from sdxl_train_cli.memory import host_memory
from sdxl_train_cli.recipe import Kind, Setting
from sdxl_train_cli.recipes import presets

RECIPE = presets.load(Kind.LORA, "dim32")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "base.safetensors"
    path.write_bytes(bytes(2000))
    return path


@pytest.mark.parametrize(("free", "is_warned"), [(1000, True), (2000, False), (10_000, False)])
def test_it_is_warned_of(monkeypatch: pytest.MonkeyPatch, model: Path, free: int, is_warned: bool) -> None:
    monkeypatch.setattr(machine, "free_bytes", lambda: free)

    assert bool(host_memory.problems(str(model), RECIPE)) is is_warned


def test_lowram_and_what_is_not_there_are_let_pass(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setattr(machine, "free_bytes", lambda: 0)

    assert host_memory.problems(str(model), RECIPE.replaced({"lowram": Setting(value=True)})) == []
    assert host_memory.problems("stabilityai/stable-diffusion-xl-base-1.0", RECIPE) == []


def test_a_containers_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, text in (("_LIMIT", "5000"), ("_CURRENT", "2000")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        monkeypatch.setattr(machine, name, tmp_path / name)
    assert machine.free_bytes() == 3000

    (tmp_path / "_LIMIT").write_text("max", encoding="utf-8")
    assert machine.free_bytes() > 3000
