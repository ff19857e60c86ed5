"""sd-scripts as plain files, without git: an unpacked archive, or what `setup --download` has written."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.errors import SetupError

PATTERNS = ("*.py", "/requirements.txt", "/pyproject.toml", "/LICENSE*")
"""Files that training needs, in the words of git's sparse checkout. Pictures, DLLs and the like are left out."""
IDENTITY = ".git_archival.txt"
"""Where archives name the commit that they are of, as setuptools-scm and others read it."""
_OF_GIT = (".git", "HEAD")


@dataclass(frozen=True)
class Checkout:
    """A checkout of sd-scripts on disk."""

    folder: Path
    ref: str
    """Branch, tag or commit. The release's name if the newest known one was wanted."""
    commit: str
    """Full hash. Of plain files that name no commit, a hash of them."""
    made: date | None = None
    """Day of the commit. None if plain files do not tell."""


def is_unpacked(source: Path) -> bool:
    """Whether a folder holds sd-scripts' files and is no repository of git."""
    return files.is_file(source / "requirements.txt") and not any(files.exists(source / name) for name in _OF_GIT)


def copy(source: Path, folder: Path, ref: str | None) -> Checkout:
    """Copy what training needs into the new `folder`. SetupError if it is not the release that is wanted."""
    found, commit = _identity(source)
    if ref is not None and ref not in {found, commit}:
        raise SetupError(f"{source} holds {found}, not {ref}", "give --source a folder or a clone that has it")
    for path in wanted_files(source):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return Checkout(folder, found, commit)


def write(checkout: Checkout, folder: Path) -> None:
    """Write a checkout as plain files that name their commit."""
    for path in wanted_files(checkout.folder):
        target = folder / path.relative_to(checkout.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    files.write(folder / IDENTITY, f"node: {checkout.commit}\nref-names: tag: {checkout.ref}\n")


def wanted_files(source: Path) -> Iterator[Path]:
    """Each file of a folder that training needs."""
    top = (path for pattern in PATTERNS if pattern.startswith("/") for path in source.glob(pattern[1:]))
    everywhere = (path for pattern in PATTERNS if not pattern.startswith("/") for path in source.rglob(pattern))
    yield from (path for path in sorted({*top, *everywhere}) if path.is_file())


def _identity(source: Path) -> tuple[str, str]:
    """The ref and the commit that a folder is of."""
    try:
        text = files.read_text(source / IDENTITY)
    except (OSError, ValueError):
        text = ""
    commit, tag = re.search(r"^node: ([0-9a-f]{40})$", text, re.MULTILINE), re.search(r"tag: ([^\s,]+)", text)
    if commit is not None:
        return (tag[1] if tag else commit[1]), commit[1]
    digest = hashlib.sha1(usedforsecurity=False)
    for path in wanted_files(source):
        digest.update(str(path.relative_to(source)).encode() + b"\0" + path.read_bytes())
    return source.name, digest.hexdigest()
