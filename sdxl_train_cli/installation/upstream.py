"""sd-scripts at one commit: found in its source, cloned, and only the files that training needs checked out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdxl_train_cli import layout
from sdxl_train_cli.errors import SetupError

if TYPE_CHECKING:
    from git import Repo

DEFAULT_SOURCE = "https://github.com/kohya-ss/sd-scripts"
DEFAULT_REF = "sdxl"
PINNED_RELEASE = "v0.10.1"
"""What `sdxl` means where the branch was merged away, as upstream did for v0.7.0."""

NEEDED = ("sdxl_train.py", "sdxl_train_network.py", "requirements.txt")
_A_CLONE = "give --source a clone of sd-scripts or its URL"
_ANOTHER_PLACE = "free some space, or choose another place with --home"
_SPARSE = ("*.py", "/requirements.txt", "/pyproject.toml", "/LICENSE*")
"""The trainer is Python alone: pictures, Windows DLLs and other models' tokenizers stay behind."""


@dataclass(frozen=True)
class Checkout:
    """Files of sd-scripts on disk."""

    folder: Path
    ref: str
    """The branch, tag or commit that was taken, which for `sdxl` may be the pinned release."""
    commit: str
    """The full hash."""


def is_remote(source: str) -> bool:
    """Whether a source is an address and not a folder."""
    return "://" in source or (":" in source and not Path(source).exists() and not Path(source).is_absolute())


def located(source: str) -> str:
    """A source that means the same from every folder."""
    return source if is_remote(source) else str(layout.expanded(Path(source)))


def create(folder: Path, source: str, ref: str) -> Checkout:
    """Clone `source` into the new `folder` at `ref`; raises SetupError with what is wrong and the next thing to type.

    Of a remote source only the history's outline is fetched, then the blobs of the sparse checkout in one go.
    """
    source = located(source)
    if not is_remote(source) and not Path(source).exists():
        raise SetupError(f"no folder {source} to take sd-scripts from", _A_CLONE)
    with _git_errors(source, ref):
        repo = _clone(source, folder)
        try:
            taken, commit = _resolve(repo, ref, source)
            repo.git.sparse_checkout("set", "--no-cone", *_SPARSE)
            repo.git.checkout("--detach", commit)
        finally:
            repo.close()
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise SetupError(
            f"{source} at {taken} is not an sd-scripts that trains SDXL: it has no {' and no '.join(missing)}",
            "every release since v0.7.0 has them: try `sdxl-train setup --ref sdxl`",
        )
    return Checkout(folder, taken, commit)


def _clone(source: str, folder: Path) -> Repo:
    from git import Repo  # noqa: PLC0415 - importing it raises where the git program is missing

    options = ["--no-checkout", "--filter=blob:none"] if is_remote(source) else ["--no-checkout"]
    return Repo.clone_from(source, folder, env=_quiet(), multi_options=options)


def _quiet() -> dict[str, str]:
    # A question on the terminal would wait for ever in CI; git's own words are matched below, so keep them English.
    return {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def _resolve(repo: Repo, ref: str, source: str) -> tuple[str, str]:
    names = [ref, PINNED_RELEASE] if ref == DEFAULT_REF else [ref]
    for name in names:
        for candidate in (f"refs/remotes/origin/{name}", f"refs/tags/{name}", name):
            commit = _commit(repo, candidate)
            if commit:
                return name, commit
    if ref == DEFAULT_REF:
        raise SetupError(
            f"{source} has neither a branch 'sdxl' nor the release {PINNED_RELEASE}",
            "name what it has: `sdxl-train setup --ref BRANCH|TAG|COMMIT`",
        )
    tags = sorted((tag.name for tag in repo.tags), key=_by_number, reverse=True)[:5]
    raise SetupError(
        f"{source} has no branch, tag or commit '{ref}'",
        f"its newest tags: {', '.join(tags)}" if tags else "it has no tags; give a branch or a commit",
    )


def _by_number(tag: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", tag)]


def _commit(repo: Repo, name: str) -> str | None:
    from git import GitCommandError  # noqa: PLC0415 - as above

    try:
        return str(repo.git.rev_parse("--verify", "--quiet", name + "^{commit}"))
    except GitCommandError:
        return None


_CAUSES = (
    ("No space left on device", "the disk is full", _ANOTHER_PLACE),
    ("dubious ownership", "git does not trust {source}: it belongs to another user",
     "git config --global --add safe.directory {source}"),
    ("does not appear to be a git repository", "{source} is not a git repository",
     _A_CLONE),
    ("does not exist", "there is no git repository at {source}", _A_CLONE),
    ("not found", "there is no git repository at {source}", _A_CLONE),
    ("Authentication failed", "{source} asks for a password", "check the address: sd-scripts itself is public"),
    ("could not read Username", "{source} asks for a password", "check the address: sd-scripts itself is public"),
    ("unknown option", "git is too old", "install git 2.27 or newer"),
    ("is not a git command", "git is too old", "install git 2.27 or newer"),
)  # fmt: skip
_UNREACHABLE = (
    "{source} can't be reached",
    "check the network or proxy, or name a clone or mirror: `sdxl-train setup --source PATH|URL`",
)


@contextmanager
def _git_errors(source: str, ref: str) -> Iterator[None]:
    try:
        from git import GitCommandError, GitError  # noqa: PLC0415 - as above
    except ImportError as error:
        raise SetupError("git is not installed", "install it from https://git-scm.com and try again") from error
    try:
        yield
    except GitCommandError as error:
        words = str(error.stderr)
        for sign, message, hint in _CAUSES:
            if sign in words:
                raise SetupError(message.format(source=source), hint.format(source=source)) from error
        if is_remote(source):
            raise SetupError(_UNREACHABLE[0].format(source=source), _UNREACHABLE[1]) from error
        last = words.strip().strip("'").splitlines()[-1] if words.strip() else str(error)
        raise SetupError(f"git could not take {ref} from {source}: {last}") from error
    except GitError as error:
        raise SetupError(f"{source} is not a git repository", _A_CLONE) from error
    except OSError as error:
        raise SetupError(f"sd-scripts could not be written: {error.strerror or error}", _ANOTHER_PLACE) from error
