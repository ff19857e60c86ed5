"""The worst of docs/silent.md with the real sd-scripts: it ends with 0 and has learned nothing, or something else.

Each case is first started as the trainer would be alone, then asked of the CLI. A few steps of a scaled-down LoRA each.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import upstream_source
from test_upstream_failures import World

from sdxl_train_cli.recipe import Value

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.slow,
    pytest.mark.skipif(
        upstream_source.find() is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE to a clone"
    ),
]
QUICK: dict[str, Value] = {"save_state": False, "save_every_n_steps": False, "max_train_steps": 2}


@dataclass(frozen=True)
class Silent:
    """A way in which a run ends well and should not have."""

    name: str
    settings: Mapping[str, Value]
    told: str
    """A part of what the CLI says instead."""
    logged: str = ""
    """What the trainer's own log has, where that shows what was made of the settings."""
    saves: bool = True
    """Whether a file is written at all."""
    learns: bool = False
    """Whether the file holds a change."""


REFUSED = (
    Silent("a LoRA+ ratio of 0", {"network_args": "loraplus_lr_ratio=0"}, "upper matrices at zero"),
    Silent("a network dropout of 1", {"network_dropout": 1}, "out of every step"),
    Silent("a module dropout of 1", {"network_args": "module_dropout=1"}, "out of every step"),
    Silent(
        "a Huber loss of no width",
        {"loss_type": "huber", "huber_schedule": "constant", "huber_c": 0},
        "the loss is 0 in every step",
    ),
    Silent(
        "an optimizer that waits for the backward pass",
        {
            "optimizer_type": "prodigyplus.ProdigyPlusScheduleFree",
            "optimizer_args": "fused_back_pass=True",
            "learning_rate": 1,
            "lr_scheduler": "constant",
        },
        "nothing would be trained",
    ),
    Silent("Prodigy with the rate of other optimizers", {"optimizer_type": "Prodigy"}, "learns next to nothing"),
    Silent("every picture kept for validation", {"validation_split": 1}, "leaves none to train on", saves=False),
)
SET_RIGHT = (
    Silent(
        "commas between arguments",
        {
            "optimizer_type": "Adafactor",
            "optimizer_args": ("relative_step=False,", "scale_parameter=False,", "warmup_init=False"),
        },
        "--optimizer_args relative_step=False scale_parameter=False warmup_init=False",
        logged="relative_step is true",
        learns=True,
    ),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One trained smoke, whose command line every case changes; its own file holds a change."""
    folder = tmp_path_factory.mktemp("silent")
    smoked = World(folder, []).main("smoke", "--keep", "--steps", 2, "--output", folder / "smoke")
    assert smoked.returncode == 0, smoked.stderr
    assert has_learned(folder / "smoke" / "smoke-lora" / "smoke-lora.safetensors")
    record = json.loads((folder / "smoke" / "smoke-lora" / "run.json").read_text(encoding="utf-8"))
    return World(folder, record["argv"])


def has_learned(lora: Path) -> bool:
    """Whether any of the upper matrices, which begin as zeros, holds anything else; -0 is zero too."""
    content = lora.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    upper = [row for name, row in header.items() if name.endswith("lora_up.weight")]
    assert {row["dtype"] for row in upper} == {"F16"}
    data = memoryview(content)[8 + length :]
    return any(value & 0x7FFF for row in upper for value in data[slice(*row["data_offsets"])].cast("H"))


def trained(world: World, case: Silent) -> list[str]:
    """Start the trainer with the settings, whatever the CLI thinks; it must end with 0, and as the case says."""
    shutil.rmtree(world.folder / "out", ignore_errors=True)
    code, lines = world.train({**QUICK, **case.settings})
    written = list((world.folder / "out").glob("*.safetensors"))

    assert code == 0, "\n".join(lines[-30:])
    assert bool(written) is case.saves
    assert any(case.logged in line for line in lines)
    assert [path for path in written if has_learned(path) is not case.learns] == []
    return lines


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_would_end_well_and_train_nothing_is_refused(world: World, case: Silent) -> None:
    trained(world, case)
    asked = world.ask(typed(case.settings))

    assert asked.returncode == 3
    assert case.told in asked.stderr


@pytest.mark.parametrize("case", SET_RIGHT, ids=lambda case: case.name)
def test_what_would_end_well_and_train_otherwise_is_set_right(world: World, case: Silent) -> None:
    trained(world, case)
    asked = world.ask(typed(case.settings))

    assert asked.returncode == 0, asked.stderr
    assert case.told in asked.stdout


def test_rates_that_prodigy_refuses_at_its_first_step_are_refused_before(world: World) -> None:
    settings: dict[str, Value] = {
        "optimizer_type": "Prodigy",
        "learning_rate": 1,
        "network_args": "loraplus_lr_ratio=4",
        "lr_scheduler": "constant",
    }
    code, lines = world.train({**QUICK, **settings})
    asked = world.ask(settings)

    assert code != 0
    assert any("different lr values" in line for line in lines)
    assert asked.returncode == 3
    assert "stops at its first step" in asked.stderr


def typed(settings: Mapping[str, Value]) -> dict[str, Value]:
    """The settings as a person types them with --set."""
    return {name: " ".join(map(str, value)) if isinstance(value, tuple) else value for name, value in settings.items()}
