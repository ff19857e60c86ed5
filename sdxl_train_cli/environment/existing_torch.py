"""A Python whose torch is used instead of installing one: found, described, and still there later."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from sdxl_train_cli import files, layout, process
from sdxl_train_cli.errors import SetupError

_SCRIPT = Path(__file__).parents[1] / "inside" / "other_python.py"
_NAME_IT = "name the Python whose torch works: `sdxl-train setup --torch existing --python /path/to/python`"
_SECONDS = 120.0


class ExistingTorch(BaseModel):
    """The torch of another Python, as an environment beside it was made."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    python: str
    """The Python that has it."""
    version: str
    """torch's version."""
    metadata: str
    """torch's folder of metadata, whose name has the version. It goes when torch does."""
    paths: tuple[str, ...]
    """The folders from which that Python imports packages."""


@dataclass(frozen=True)
class OtherPython:
    """A Python with torch, and all that it has."""

    torch: ExistingTorch
    version: str
    """Its own version."""
    packages: Mapping[str, str]
    """Version of each package, by normalised name."""


def find(python: str | None) -> OtherPython:
    """The typed Python, else the first with torch: this one, an active environment's, or the one on PATH."""
    looked_at = [_typed(python)] if python else list(dict.fromkeys(_candidates()))
    for candidate in looked_at:
        facts = _ask(candidate) if shutil.which(candidate) else None
        if facts is not None and facts["torch"] is not None:
            return _described(candidate, facts)
        if python:
            what = "can't be run" if facts is None else f"is Python {facts['python']} and has no torch"
            raise SetupError(f"{candidate} {what}", _NAME_IT)
    raise SetupError(f"no torch was found; looked at {', '.join(looked_at)}", _NAME_IT)


def _typed(python: str) -> str:
    """A path, or the program of a name or a version."""
    if os.sep in python or "/" in python:
        return str(layout.expand(Path(python)))
    name = f"python{python}" if re.fullmatch(r"\d+(\.\d+)*", python) else python
    return shutil.which(name) or name


def _candidates() -> Iterator[str]:
    program = "Scripts/python.exe" if process.WINDOWS else "bin/python"
    yield sys.executable
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if name in os.environ:
            yield str(Path(os.environ[name], program))
    for name in ("python3", "python"):
        if found := shutil.which(name):
            yield found


def _ask(python: str) -> dict[str, Any] | None:
    """What a Python has. None if it can't say."""
    try:
        answer = process.run([python, "-B", str(_SCRIPT)], timeout_seconds=_SECONDS)
        facts = files.parse_json(answer.stdout) if answer.code == 0 else None
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def _described(python: str, facts: Mapping[str, Any]) -> OtherPython:
    torch = ExistingTorch(
        python=python, version=facts["packages"]["torch"], metadata=facts["torch"], paths=tuple(facts["paths"])
    )
    return OtherPython(torch, facts["python"], facts["packages"])


def require_unchanged(torch: ExistingTorch) -> None:
    """SetupError if that torch is no longer there, or is another release."""
    metadata = Path(torch.metadata)
    if files.exists(metadata):
        return
    others = sorted(metadata.parent.glob("torch-*.dist-info")) if files.is_folder(metadata.parent) else []
    now = f"is now {others[0].name.split('-')[1].removesuffix('.dist')}" if others else "is gone"
    raise SetupError(
        f"this environment uses torch {torch.version} of {torch.python}, which {now}",
        "run `sdxl-train setup`, which makes the environment anew, or choose another with --torch",
    )
