"""Makes a git repository that plays kohya-ss/sd-scripts; needs git and Python's standard library alone.

python tests/standin/build.py FOLDER [--branch sdxl] [--tag v0.10.1 ...] [--missing-blobs]
"""

from __future__ import annotations

import argparse
import os
import shutil
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

TREE = Path(__file__).resolve().parent / "tree"
TAGS = ("v0.10.1",)

DEAD_WEIGHT = {
    "bitsandbytes_windows/x.dll": b"MZ: a Windows library that the trainer needs not",
    "docs/a.png": b"\x89PNG: a picture that the trainer needs not",
    "docs/guide.md": b"A text that the trainer needs not.\n",
}
"""Files that a checkout of Python files and requirements leaves behind."""
IGNORED = "__pycache__/\n"  # as upstream: a checkout that has run is not a changed one

_DATE = "2026-02-13T00:00:00+0000"  # fixed, so that the same tree is the same commit


def make_repository(
    folder: Path, *, branch: str | None = None, tags: Sequence[str] = TAGS, missing_blobs: bool = False
) -> Path:
    """Make `folder`, which must be absent or empty, a repository of one commit on `main`.

    With `missing_blobs` the objects of DEAD_WEIGHT are gone: a full checkout fails, a sparse one works. The commit is
    the same each time that the tree is.
    """
    folder = Path(folder).absolute()
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    shutil.copytree(TREE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"), dirs_exist_ok=True)
    for path, content in DEAD_WEIGHT.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    (folder / ".gitignore").write_bytes(IGNORED.encode())

    _git(folder, "init", "--quiet", "--template=")
    _git(folder, "symbolic-ref", "HEAD", "refs/heads/main")
    _git(folder, "config", "core.autocrlf", "false")
    _git(folder, "config", "core.filemode", "false")
    _git(folder, "config", "uploadpack.allowFilter", "true")  # a clone from file:// may leave blobs behind
    _git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    _git(folder, "add", "--all", "--force")
    _git(folder, "commit", "--quiet", "--message", "stand-in for sd-scripts")
    for tag in tags:
        _git(folder, "tag", tag)
    if branch is not None:
        _git(folder, "branch", branch)
    if missing_blobs:
        for path in DEAD_WEIGHT:
            _remove_blob(folder, _git(folder, "rev-parse", f"HEAD:{path}"))
    return folder


def _remove_blob(folder: Path, name: str) -> None:
    blob = folder / ".git" / "objects" / name[:2] / name[2:]
    blob.chmod(stat.S_IWRITE | stat.S_IREAD)  # git makes objects read-only, which Windows does not delete
    blob.unlink()


def _git(folder: Path, *arguments: str) -> str:
    """Run git with no setting of the user's, the machine's or a surrounding git's own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environ.update(
        HOME=str(folder),
        XDG_CONFIG_HOME=str(folder),
        GIT_CONFIG_NOSYSTEM="1",
        GIT_CONFIG_GLOBAL=os.devnull,
        GIT_AUTHOR_DATE=_DATE,
        GIT_COMMITTER_DATE=_DATE,
    )
    identity = ("-c", "user.name=stand-in", "-c", "user.email=stand-in@example.invalid", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, env=environ, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a git repository that plays sd-scripts.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--branch")
    parser.add_argument("--tag", action="append", dest="tags")
    parser.add_argument("--missing-blobs", action="store_true")
    typed = parser.parse_args()
    made = make_repository(
        typed.folder, branch=typed.branch, tags=typed.tags or TAGS, missing_blobs=typed.missing_blobs
    )
    print(made)


if __name__ == "__main__":
    main()
