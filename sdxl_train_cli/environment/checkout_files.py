"""Whether the files of sd-scripts are those of the commit that setup took, and how to get them back."""

from __future__ import annotations

import fnmatch
import hashlib
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files, process
from sdxl_train_cli.environment import environment, unpacked, upstream
from sdxl_train_cli.environment.doctor_answer import AlteredFile, FileFaultKind
from sdxl_train_cli.environment.environment import EnvironmentFiles, EnvironmentLock
from sdxl_train_cli.errors import SetupError

_MOST_AT_ONCE = 100
"""Paths of one command line: Windows takes 32,000 characters."""


@dataclass(frozen=True)
class CheckoutState:
    """What was found."""

    faults: tuple[AlteredFile, ...] = ()
    unknown: str | None = None
    """Why the files could not be compared."""


def compare(folder: Path, lock: EnvironmentLock) -> CheckoutState:
    """Compare every file that training needs."""
    try:
        differing = _of_git(folder, lock.commit) if files.exists(folder / ".git") else _of_source(folder, lock)
    except _UnknownError as unknown:
        return CheckoutState(unknown=str(unknown))
    return CheckoutState(tuple(AlteredFile(file=name, fault=_kind(folder / name)) for name in differing))


class _UnknownError(Exception):
    """The files can't be compared; its words say why."""


def _of_git(folder: Path, commit: str) -> list[str]:
    wanted = {
        name: entry.split()[2]
        for entry, _, name in (line.partition("\t") for line in _git(folder, "ls-tree", "-r", "-z", commit).split("\0"))
        if name and _is_needed(name)
    }
    there = [name for name in wanted if files.is_file(folder / name)]
    found: dict[str, str] = {}
    for at in range(0, len(there), _MOST_AT_ONCE):
        some = there[at : at + _MOST_AT_ONCE]
        found |= zip(some, _git(folder, "hash-object", "--", *some).split(), strict=False)
    return [name for name, digest in wanted.items() if found.get(name) != digest]


def _git(folder: Path, *arguments: str) -> str:
    done = process.run(["git", *arguments], cwd=folder)
    if done.code != 0:
        raise _UnknownError((done.stderr.strip().splitlines() or [f"git ended with exit code {done.code}"])[-1])
    return done.stdout


def _is_needed(name: str) -> bool:
    """Whether setup's sparse checkout has a file: patterns with a slash count at the top alone."""
    return any(
        fnmatch.fnmatch(name, pattern[1:]) and "/" not in name if pattern.startswith("/") else
        fnmatch.fnmatch(name, pattern) for pattern in unpacked.PATTERNS
    )  # fmt: skip


def _of_source(folder: Path, lock: EnvironmentLock) -> list[str]:
    source = Path(lock.request.source)
    if gone := [name for name in upstream.NEEDED if not files.is_file(folder / name)]:
        return gone
    if upstream.is_remote(lock.request.source) or not unpacked.is_unpacked(source):
        raise _UnknownError(f"{source}, which the files are from, is not there any more")
    return [
        str(path.relative_to(source))
        for path in unpacked.wanted_files(source)
        if _digest(path) != _digest(folder / path.relative_to(source))
    ]


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if files.is_file(path) else None


def _kind(path: Path) -> FileFaultKind:
    try:
        content = path.read_bytes()
    except OSError:
        return FileFaultKind.MISSING
    if not content.strip(b"\0"):
        return FileFaultKind.ZEROS if content else FileFaultKind.EMPTY
    if path.suffix != ".py":
        return FileFaultKind.CHANGED
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(content, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return FileFaultKind.BROKEN
    return FileFaultKind.CHANGED


def restore(parts: EnvironmentFiles, lock: EnvironmentLock, names: Sequence[str]) -> None:
    """Take files from the commit again: from the clone, else from where setup took it. SetupError if neither has it.

    A folder that is no clone, or none any more, gets all files.
    """
    has_clone = files.exists(parts.checkout / ".git")
    if has_clone:
        done = process.run(["git", "checkout", "--quiet", "--force", lock.commit, "--", *names], cwd=parts.checkout)
        if done.code == 0:
            return
    with tempfile.TemporaryDirectory(prefix="sdxl-train-doctor-", ignore_cleanup_errors=True) as folder:
        is_plain = unpacked.is_unpacked(Path(lock.request.source))
        made = upstream.create(Path(folder) / "sd-scripts", lock.request.source, None if is_plain else lock.commit)
        if made.commit != lock.commit:
            raise SetupError(f"{lock.request.source} no longer has commit {lock.commit[:10]}", environment.ANEW)
        if not has_clone:
            shutil.copytree(made.folder, parts.checkout, dirs_exist_ok=True)
            return
        for name in names:
            (parts.checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made.folder / name, parts.checkout / name)
