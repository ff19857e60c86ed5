"""The pip that every Python brings."""

from __future__ import annotations

import ensurepip
from pathlib import Path

_PLACES = (Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels"))
"""The second is Debian's."""


def wheel() -> Path:
    """Its wheel."""
    return next(found for place in _PLACES for found in place.glob("pip-*.whl"))
