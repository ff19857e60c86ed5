"""Choose among the environments of a home: the current one is named by a small file."""

from __future__ import annotations

from sdxl_train_cli import files, process
from sdxl_train_cli.environment import environment, ownership
from sdxl_train_cli.environment.environment import Environment, SetupRequest
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.sdscripts import known_releases


def switch(home: Home, name: str) -> None:
    """Make an environment the current one, and remember the one before."""
    before = environment.named(home, home.current)
    if before is not None and before.name != name:
        files.write(home.previous, before.name)
    files.write(home.current, name)


def matching(home: Home, request: SetupRequest) -> Environment | None:
    """The newest complete environment that was made for the same request."""
    return next((found for found in environment.iter_whole(home) if found.lock.request == request), None)


def use(home: Home, wanted: str) -> Environment:
    """Switch to the environment of this name, release or commit. SetupError if there is none, or more than one."""
    whole = list(environment.iter_whole(home))
    found = [one for one in whole if wanted in _names(one) or _begins(one.lock.commit, wanted)]
    exact = [one for one in found if one.folder.name == wanted]
    if len(exact or found) != 1:
        names = ", ".join(one.folder.name for one in found or whole)
        problem = "there is no environment" if not found else "there is more than one environment"
        raise SetupError(f"{problem} '{wanted}'", f"name one of: {names}" if names else "run `sdxl-train setup`")
    chosen = (exact or found)[0]
    switch(home, chosen.folder.name)
    return chosen


def rollback(home: Home) -> Environment:
    """Switch to the environment that was current before, else to the newest other one."""
    now, before = environment.current_folder(home), environment.named(home, home.previous)
    others = [one for one in environment.iter_whole(home) if one.folder != now]
    if not others:
        raise SetupError(
            "there is no other environment to go back to", "install another: `sdxl-train setup --ref RELEASE`"
        )
    chosen = next((one for one in others if one.folder == before), others[0])
    switch(home, chosen.folder.name)
    return chosen


def prune(home: Home) -> tuple[int, int]:
    """Remove every environment but the current one. Returns how many were removed, and how many are in use."""
    now = environment.current_folder(home)
    if now is None:
        raise SetupError(f"{home.current} names no environment", "run `sdxl-train setup` first")
    others = [folder for folder in ownership.list_made(home) if folder != now]
    used = [folder for folder in others if process.running_from(folder)]
    for folder in others:
        if folder not in used:
            ownership.remove(folder)
    return len(others) - len(used), len(used)


def _names(one: Environment) -> set[str]:
    known = known_releases.at(one.lock.commit)
    return {one.folder.name, one.lock.ref, *([known.name] if known else [])}


def _begins(commit: str, wanted: str) -> bool:
    least = 6
    return len(wanted) >= least and commit.startswith(wanted.lower())
