"""Tell which argument an optimizer has refused, and whether it is an option instead."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sdxl_train_cli.failures.refused_options import Explanation
from sdxl_train_cli.sdscripts import script_options

_REFUSED = re.compile(r"(?P<optimizer>\w{1,60})\.__init__\(\) got an unexpected keyword argument '(?P<name>\w{1,60})'")


def explain(lines: Sequence[str]) -> Explanation | None:
    """Tell the argument of the last such error in a log. None if there is none."""
    found = next((match for line in reversed(lines) if (match := _REFUSED.search(line))), None)
    if found is None:
        return None
    name, optimizer = found["name"], found["optimizer"]
    if not script_options.scripts_with(f"--{name}"):
        return Explanation(f"{optimizer} takes no argument '{name}'", f"leave {name} out of optimizer_args")
    return Explanation(
        f"'{name}' is an option of its own, not an argument of {optimizer}",
        f"take it out of optimizer_args; as an option it is --{name}, here --set {name}=...",
    )
