"""Clone sd-scripts at one commit, and check out only the files that training needs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from sdxl_train_cli import files, layout, process, process_guard, redact
from sdxl_train_cli.environment import unpacked
from sdxl_train_cli.environment.unpacked import PATTERNS, Checkout
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.sdscripts import known_releases

if TYPE_CHECKING:
    from git import Repo

DEFAULT_SOURCE = "https://github.com/kohya-ss/sd-scripts"
_LINE = "sdxl"
"""The branch that SDXL was first trained with. Upstream has merged it: every release since trains SDXL."""
NEEDED = ("sdxl_train.py", "sdxl_train_network.py", "requirements.txt")
_A_CLONE = "give --source a clone of sd-scripts or its URL"
_ENCODED = "write / as %2F, # as %23 and ? as %3F in a password, and @ as %40 in a path"
_ANOTHER_PLACE = "free some space, or choose another place with --home"
_LONGEST_SECONDS = 3600.0


def is_remote(source: str) -> bool:
    """Whether a source is a URL rather than a folder."""
    return "://" in source or (":" in source and not files.exists(source) and not Path(source).is_absolute())


def resolve_source(source: str) -> str:
    """The source in a form valid from every folder. SetupError if it seems to contain an unrecognised password."""
    if redact.is_doubtful(source):
        raise SetupError("the address of sd-scripts has an @ that does not follow a user name", _ENCODED)
    return source if is_remote(source) else str(layout.expand(Path(source)))


def create(folder: Path, address: str, ref: str | None) -> Checkout:
    """Clone `address` into the new `folder` at `ref`. SetupError says what is wrong and what to type next.

    Without a ref, the newest known release that the source has is taken. The branch `sdxl` stands for it where there is
    none of that name.

    From a remote source only the commit history is fetched, then the blobs of the sparse checkout at once. A password
    in the address is never stored or shown.
    """
    address = resolve_source(address)
    git = _Git(folder, redact.text(address), ref, _variables(address))
    if not is_remote(address) and not files.exists(address):
        raise SetupError(f"no folder {address} to take sd-scripts from", _A_CLONE)
    if not is_remote(address) and unpacked.is_unpacked(Path(address)):
        return _require_whole(unpacked.copy(Path(address), folder, None if ref == _LINE else ref), address)
    options = ["--no-checkout", *(["--filter=blob:none"] if is_remote(address) else [])]
    git("clone", "--quiet", *options, "--", git.source, str(folder), cwd=folder.parent)
    taken, commit, made = _resolve(git)
    git("sparse-checkout", "set", "--no-cone", *PATTERNS)
    git("checkout", "--quiet", "--detach", commit)
    return _require_whole(Checkout(folder, taken, commit, made), git.source)


def _require_whole(made: Checkout, source: str) -> Checkout:
    missing = [name for name in NEEDED if not files.is_file(made.folder / name)]
    missing += [] if files.is_folder(made.folder / "library") else ["library"]
    if missing:
        raise SetupError(
            f"{source} at {made.ref} is not a version of sd-scripts that trains SDXL: it has no "
            f"{' and no '.join(missing)}",
            "every release since v0.7.0 has them: leave --ref out for the newest",
        )
    return made


@dataclass(frozen=True)
class _Git:
    """Runs git on one clone as our child process, so that an interrupted transfer leaves no process behind.

    GitPython, which reads the clone afterwards, would leave one.
    """

    folder: Path
    source: str
    """The source without its password, as git sees, stores and shows it."""
    ref: str | None
    variables: Mapping[str, str]

    def __call__(self, *arguments: str, cwd: Path | None = None) -> None:
        """Run git. SetupError explains a failure."""
        argv = ["git", *arguments]
        try:
            done = process.run(argv, cwd=cwd or self.folder, env=self.variables, timeout_seconds=_LONGEST_SECONDS)
        except TimeoutError as error:
            raise SetupError(f"{self.source} has not answered in an hour", _UNREACHABLE[1]) from error
        except OSError as error:
            raise SetupError(f"sd-scripts could not be written: {error.strerror}", _ANOTHER_PLACE) from error
        if done.code != 0:
            raise self._explained(done.code, redact.text(done.stderr))

    def _explained(self, code: int, words: str) -> SetupError:
        if code == process_guard.NOT_FOUND:
            return SetupError("git is not installed", "install it from https://git-scm.com and try again")
        for sign, message, hint in _CAUSES:
            if sign in words:
                return SetupError(message.format(source=self.source), hint.format(source=self.source))
        if is_remote(self.source):
            return SetupError(_UNREACHABLE[0].format(source=self.source), _UNREACHABLE[1])
        last = (words.strip().splitlines() or [f"exit code {code}"])[-1]
        return SetupError(f"git could not fetch {self.ref or 'sd-scripts'} from {self.source}: {last}", _A_CLONE)


def _variables(address: str) -> dict[str, str]:
    """Return git's environment.

    A prompt on the terminal would block CI forever. git's messages are matched below, so they must be English. The
    address with its password is passed as a setting of this one call, as git would store it in the clone's config.
    """
    quiet = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    patience = {"GIT_HTTP_LOW_SPEED_LIMIT": "1", "GIT_HTTP_LOW_SPEED_TIME": "60"}
    variables = {**patience, **os.environ, **quiet}
    shown = redact.text(address)
    if shown != address:
        before = os.environ.get("GIT_CONFIG_COUNT", "")
        count = int(before) if before.isdecimal() else 0
        variables |= {
            f"GIT_CONFIG_KEY_{count}": f"url.{address}.insteadOf",
            f"GIT_CONFIG_VALUE_{count}": shown,
            "GIT_CONFIG_COUNT": str(count + 1),
        }
    return variables


def _resolve(git: _Git) -> tuple[str, str, date]:
    """Return the ref's name, its commit and the commit's day. Reading a clone takes no network and no time."""
    from git import Repo  # noqa: PLC0415 - importing it raises if the git program is missing

    with Repo(git.folder) as clone:
        for name, candidate in _candidates(git.ref):
            commit = _commit(clone, candidate)
            if commit is not None:
                return name, commit, clone.commit(commit).committed_datetime.date()
        tags = sorted((tag.name for tag in clone.tags), key=_by_number, reverse=True)[:5]
    there = f"its newest tags: {', '.join(tags)}" if tags else "it has no tags; give a branch or a commit"
    if git.ref is None:
        known = " or ".join(release.name for release in known_releases.load())
        raise SetupError(f"{git.source} has none of the releases known here ({known})", f"name one with --ref; {there}")
    raise SetupError(f"{git.source} has no branch, tag or commit '{git.ref}'", there)


def _candidates(ref: str | None) -> Iterator[tuple[str, str]]:
    """Names of what is wanted, the best first, each with what git may call it."""
    if ref is not None:
        yield from ((ref, name) for name in (f"refs/remotes/origin/{ref}", f"refs/tags/{ref}", ref))
    if ref in {None, _LINE}:
        for release in known_releases.load():
            yield from ((release.name, name) for name in (release.commit, f"refs/tags/{release.name}"))


def _commit(clone: Repo, name: str) -> str | None:
    from git import GitCommandError  # noqa: PLC0415 - as above

    try:
        return str(clone.git.rev_parse("--verify", "--quiet", name + "^{commit}"))
    except GitCommandError:
        return None


def _by_number(tag: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", tag)]


_CAUSES = (
    ("No space left on device", "the disk is full", _ANOTHER_PLACE),
    ("could not create", "sd-scripts could not be written: its folder can't be created", _ANOTHER_PLACE),
    ("dubious ownership", "git does not trust {source}: it belongs to another user",
     "git config --global --add safe.directory {source}"),
    ("does not appear to be a git repository", "{source} is not a git repository",
     _A_CLONE),
    ("does not exist", "there is no git repository at {source}", _A_CLONE),
    ("not found", "there is no git repository at {source}", _A_CLONE),
    ("Authentication failed", "{source} asks for a password", "check the address: sd-scripts itself is public"),
    ("could not read Username", "{source} asks for a password", "check the address: sd-scripts itself is public"),
    ("terminal prompts disabled", "{source} asks for a password", "check the address: sd-scripts itself is public"),
    ("Permission denied (publickey", "{source} accepts none of your SSH keys",
     "ssh-add your key, or use an https address"),
    ("unknown option", "git is too old", "install git 2.27 or newer"),
    ("is not a git command", "git is too old", "install git 2.27 or newer"),
)  # fmt: skip
_UNREACHABLE = (
    "{source} can't be reached",
    "check the network or proxy, or name a clone or mirror: `sdxl-train setup --source PATH|URL`",
)
