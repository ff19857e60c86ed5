"""The training's flags as `sweep` takes them: each has one value for all points, and says how to give several."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_args

from sdxl_train_cli import formatting
from sdxl_train_cli.commands import train_options
from sdxl_train_cli.errors import UsageError

_OPTIONS = {flag: option for option, flag in train_options.FLAGS.items() if option != "resolution"}
"""Of each flag that takes one value. `--resolution 768,1024` is one training on two sizes."""


def refused(parameter: inspect.Parameter) -> inspect.Parameter:
    """A parameter of the training that refuses several values, where it is one that `--set` could vary."""
    kind, *more = get_args(parameter.annotation) or (parameter.annotation,)
    for info in more:
        flag = getattr(info, "default", None)
        if flag in _OPTIONS and "/" not in flag:
            own = copy.copy(info)
            own.parser = _parser(flag, info.parser)
            return parameter.replace(annotation=Annotated[kind, own])
    return parameter


def _parser(flag: str, parse: Callable[[str], Any] | None) -> Callable[[str], Any]:
    """As the training's own, for one value. What it says of a wrong one among several counts."""
    read = parse or str

    def one_value(text: str) -> Any:  # noqa: ANN401 - as the flag's own
        parts = [part.strip() for part in str(text).split(",")]
        if len(parts) > 1 and all(parts):
            for part in parts:
                read(part)
            setting = formatting.shell_word(f"{_OPTIONS[flag]}={','.join(parts)}")
            raise UsageError(f"{flag} is one value for all runs, not {len(parts)}", f"--set {setting}")
        return read(text)

    return one_value
