"""What a run's files take on disk, by the number of weights, and the refusal where there is no room."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sdxl_train_cli.errors import TrainingError
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.records import storage


def recipe(kind: Kind, preset: str, **changes: str | bool | None) -> Recipe:
    return presets.load(kind, preset, [Override(name, value, "test") for name, value in changes.items()], None)


def test_a_loras_checkpoint_is_its_weights_in_half_precision() -> None:
    """The real file of dim 32, U-Net only, takes 170.5 MB."""
    assert storage.files(recipe(Kind.LORA, "dim32-gc")).checkpoint_gib * 1024**3 == pytest.approx(170.5e6, rel=0.01)
    whole = storage.files(recipe(Kind.LORA, "dim32-gc", save_precision="float"))
    assert whole.checkpoint_gib * 1024**3 == pytest.approx(341e6, rel=0.01)


def test_a_state_holds_the_weights_and_the_optimizers_own() -> None:
    """32-bit weights and two 8-bit states of 85,114,880 weights: 511 MB."""
    with_state = storage.files(recipe(Kind.LORA, "dim32-gc"))

    assert with_state.state_gib * 1024**3 == pytest.approx(85_114_880 * 6, rel=0.02)
    assert storage.files(recipe(Kind.LORA, "dim32-gc", save_state=None)).state_gib == 0


def test_dreambooth_writes_the_whole_model() -> None:
    """SDXL's published checkpoint takes 6.94 GB."""
    assert storage.files(recipe(Kind.DREAMBOOTH, "gc")).checkpoint_gib * 1024**3 == pytest.approx(6.94e9, rel=0.01)


def test_a_disk_without_room_is_refused_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lora = recipe(Kind.LORA, "dim32-gc")
    storage.require(tmp_path / "absent" / "run", lora)

    usage = type(shutil.disk_usage(tmp_path))(10**12, 10**12 - 10**8, 10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(TrainingError) as raised:
        storage.require(tmp_path / "absent" / "run", lora)

    assert "0.1 GB of disk left" in str(raised.value)
    assert "--output" in str(raised.value.problems[0].hint)
