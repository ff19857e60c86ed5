"""A flag of the training with several values: what to type in its place is told, and works."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest
from conftest import Result

from sdxl_train_cli.commands import train_options
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.sdscripts import shipped
from sdxl_train_cli.sweeps import axes

SWITCHES = {"shuffle_caption", "gradient_checkpointing", "save_state"}
TEXTS = {"optimizer_type": ("AdamW", "Lion"), "lr_scheduler": ("cosine", "constant")}
VARIED = sorted(set(train_options.FLAGS) - SWITCHES - {"resolution"})


@pytest.mark.parametrize("option", VARIED)
def test_several_values_of_a_flag_are_told_how_to_vary_it(main: Callable[..., Result], option: str) -> None:
    flag, values = train_options.FLAGS[option], TEXTS.get(option, ("64", "128"))

    refused = main("sweep", "lora", flag, ", ".join(values))

    assert (refused.code, f"{flag} is one value for all runs, not 2" in refused.stderr) == (2, True), refused.stderr
    _, setting = shlex.split(refused.stderr.rpartition("hint:")[2])
    ((axis,), fixed) = axes.read([setting], shipped.table().of(Kind.LORA))
    assert (axis.option, axis.values, fixed) == (option, values, [])


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--dim", "4,x"], "--dim takes a whole number, not 'x'"),
        (["--dim", "4,"], "--dim takes a whole number, not '4,'"),
        (["--learning-rate", "1e-4,inf"], "--learning-rate takes a number, not 'inf'"),
        (["--resolution", "768,1024"], "nothing varies"),
    ],
)
def test_a_wrong_value_is_told_as_the_training_tells_it(
    main: Callable[..., Result], given: list[str], told: str
) -> None:
    refused = main("sweep", "lora", *given)

    assert (refused.code, told in refused.stderr) == (2, True), refused.stderr


def test_the_training_itself_takes_its_flags_as_ever(main: Callable[..., Result]) -> None:
    assert "--learning-rate takes a number, not '1e-4,2e-4'" in main("lora", "--learning-rate", "1e-4,2e-4").stderr
