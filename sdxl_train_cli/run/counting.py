"""The scripts of ours that have a resumed run count on, because the trainer alone loses count."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import INSIDE, Environment
from sdxl_train_cli.errors import SetupError, UsageError
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.sdscripts import shipped

_SCRIPTS = {
    Kind.DREAMBOOTH: INSIDE / "counted.py",
    **{kind: INSIDE / "resumed.py" for kind in Kind if kind.is_network},
}


@dataclass(frozen=True)
class StateCounting:
    """How the states of a new run come to say how far they are."""

    script: Path | None = None
    """None if the trainer writes that itself, or there is nothing to count."""
    notes: tuple[str, ...] = ()


def of_new_run(installed: Environment, recipe: Recipe, *, saves_on_stop: bool = False) -> StateCounting:
    """Only a Dreambooth run that saves states needs a script for that."""
    saves = saves_on_stop or recipe.is_on("save_state") or recipe.is_on("save_state_on_train_end")
    if recipe.kind is not Kind.DREAMBOOTH or not saves:
        return StateCounting()
    reason = environment.abilities(installed).full_not_resumed
    if reason is not None:
        return StateCounting(notes=(f"sdxl-train can't resume this run from its states: {reason}",))
    return StateCounting(_SCRIPTS[recipe.kind])


def why_not_resumed(installed: Environment, kind: Kind) -> str | None:
    """Why a run of this kind begins anew once it was cut off. None if it goes on from a state."""
    if kind not in _SCRIPTS:
        return f"sd-scripts can't resume a training of an {kind.label}"
    abilities = environment.abilities(installed)
    return abilities.full_not_resumed if kind is Kind.DREAMBOOTH else abilities.not_resumed


def is_resumable(kind: str | None) -> bool:
    """Whether runs of the kind with this name are resumed from their states."""
    return kind in {each.value for each in _SCRIPTS}


def require_resumable(kind: Kind) -> None:
    """UsageError for a kind whose script would begin again with step 0."""
    if kind not in _SCRIPTS:
        raise UsageError(
            f"a training of an {kind.label} is not resumed: sd-scripts would begin again with step 0",
            f"go on from its newest file: sdxl-train {kind.value} --trigger WORD --set weights=FILE.safetensors",
        )


def require(installed: Environment, kind: Kind) -> Path:
    """What has a resumed run of this kind count on. SetupError if that can't be done with this sd-scripts."""
    require_resumable(kind)
    abilities = environment.abilities(installed)
    reason = abilities.full_not_resumed if kind is Kind.DREAMBOOTH else abilities.not_resumed
    if reason is not None:
        raise SetupError(
            f"this sd-scripts can't resume with a correct step count: {reason}",
            f"sdxl-train setup --ref {shipped.PINNED_RELEASE} installs one that can",
        )
    return _SCRIPTS[kind]


def steps(recipe: Recipe) -> int | None:
    """Total steps. None if the length is in epochs, which only the trainer can convert."""
    number = recipe.number("max_train_steps")
    return None if number is None or recipe.get("max_train_epochs") is not None else int(number)
