"""`sdxl-train setup --list`, `--use`, `--rollback` and `--prune`: choose among what is installed."""

from __future__ import annotations

from sdxl_train_cli import formatting
from sdxl_train_cli.environment import building, environment, ownership, switching
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.layout import Home
from sdxl_train_cli.sdscripts import known_releases
from sdxl_train_cli.ui import console


def carry_out(home: Home, use: str | None, *, rollback: bool, prune: bool, as_json: bool) -> None:
    """Do one of the three, then show what is installed. SetupError if there is nothing to choose."""
    if use or rollback or prune:
        ownership.claim(home)
        with building.only_one(home, console.note):
            if use:
                switching.use(home, use)
            elif rollback:
                switching.rollback(home)
            else:
                _tell_removed(*switching.prune(home))
    _show(home, as_json=as_json)


def _tell_removed(removed: int, used: int) -> None:
    console.note(f"{formatting.counted(removed, 'environment')} removed")
    if used:
        console.note(f"{formatting.counted(used, 'environment')} left, as something still runs from there")


def _show(home: Home, *, as_json: bool) -> None:
    now = environment.current_folder(home)
    found = list(environment.iter_whole(home))
    if as_json:
        console.data([{"name": one.folder.name, "current": one.folder == now, **one.lock.model_dump(mode="json")}
                      for one in found])  # fmt: skip
        return
    if not found:
        console.note("nothing is installed yet: `sdxl-train setup`")
        return
    console.table(
        ("", "name", "sd-scripts", "torch", "extras"), [_row(one, is_current=one.folder == now) for one in found]
    )


def _row(one: Environment, *, is_current: bool) -> tuple[str, ...]:
    lock = one.lock
    extras = ", ".join(extra.value for extra in lock.request.extras)
    known = known_releases.at(lock.commit)
    release = f"{known.name if known else formatting.cut(lock.ref)} ({lock.commit[:10]})"
    return "*" if is_current else "", one.folder.name, release, lock.packages.get("torch", "-"), extras
