"""How the installed sd-scripts lays out its caches on disk."""

from __future__ import annotations

from sdxl_train_cli import files
from sdxl_train_cli.environment.environment import Environment

_LARGEST = 1 << 20
_BY_SIZE = "multi_resolution=True"
"""What library/strategy_sd.py calls its base class with since v0.11: the arrays' keys then have the size."""


def keeps_sizes_apart(installed: Environment) -> bool:
    """Whether one cache holds a picture's latents at several sizes. v0.10.1 trains each size on those of the first.

    True where there is nothing to look at.
    """
    try:
        return _BY_SIZE in files.read_text(installed.checkout / "library" / "strategy_sd.py", _LARGEST)
    except (OSError, ValueError):
        return True
