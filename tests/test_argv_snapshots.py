"""The argv of every shipped preset, one option a line, with placeholders for the paths.

`pytest --update-snapshots` writes them anew; the difference is then for people to read.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import command, lycoris
from sdxl_train_cli.sdscripts.command import InstalledTrainer, TrainerInputs
from sdxl_train_cli.sdscripts.processes import Processes

SNAPSHOTS = Path(__file__).parent / "snapshots" / "argv"
SHIPPED = [(kind, name) for kind in Kind for name in presets.names(kind)]


def named(kind: Kind, name: str) -> Path:
    return SNAPSHOTS / f"{kind.value}-{name}.txt"


def argv_of(kind: Kind, name: str, installed: Environment) -> list[str]:
    table = installed.options()
    recipe = lycoris.resolve(rules.require(presets.load(kind, name), table), installed.networks)
    run = PurePosixPath("RUN")  # no path of this system's own kind: the same text on Windows
    inputs = TrainerInputs("MODEL", None, run / "dataset.json", run, "NAME", run / "logs", PurePosixPath("TOKENIZERS"))
    trainer = InstalledTrainer(PurePosixPath("PYTHON"), PurePosixPath("SD-SCRIPTS") / kind.script, table.of(kind))
    return command.build(recipe, inputs, trainer, Processes(gpus=(0,)))


def one_a_line(argv: list[str]) -> str:
    text = argv[0]
    for word in argv[1:]:
        text += f"\n{word}" if word.startswith("-") or word.endswith(".py") else f" {word}"
    return text + "\n"


@pytest.mark.parametrize(("kind", "name"), SHIPPED, ids=[f"{kind.value}-{name}" for kind, name in SHIPPED])
def test_a_presets_argv_is_its_snapshot(
    kind: Kind, name: str, installed: Environment, pytestconfig: pytest.Config
) -> None:
    text = one_a_line(argv_of(kind, name, installed))
    if pytestconfig.getoption("update_snapshots"):
        SNAPSHOTS.mkdir(parents=True, exist_ok=True)
        named(kind, name).write_text(text, encoding="utf-8", newline="\n")

    assert text == named(kind, name).read_text(encoding="utf-8")


def test_every_snapshot_belongs_to_a_preset() -> None:
    assert SHIPPED
    assert sorted(SNAPSHOTS.iterdir()) == sorted(named(kind, name) for kind, name in SHIPPED)
