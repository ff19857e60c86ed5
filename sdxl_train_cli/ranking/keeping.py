"""Keep a run's best checkpoint, and delete those that are clearly worse.

What is deleted must be clearly worse, picture by picture, by the loss on held-back pictures at its own step or the
nearest validation. The best stays, those that can't be told apart from it, those that were not measured, and the final
file, which the run's record names as its result and from which a longer training goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files, formatting
from sdxl_train_cli.ranking import ranking, words
from sdxl_train_cli.ranking.verdict import RankedCheckpoint, Standing, Verdict
from sdxl_train_cli.records import history, run_owner
from sdxl_train_cli.sdscripts import results

_MOST_NAMED = 8


@dataclass(frozen=True)
class Keeping:
    """What was kept, and what was deleted."""

    verdict: Verdict
    deleted: tuple[Path, ...]
    size_bytes: int
    left: tuple[tuple[Path, str], ...] = ()
    """Files that could not be deleted, each with the reason."""

    @property
    def lines(self) -> list[str]:
        """What to tell."""
        best = f"best checkpoint: {words.headline(self.verdict)}"
        if not self.deleted and not self.left:
            return [best, "--keep-best deleted nothing: no checkpoint besides the last is clearly worse"]
        names = formatting.some(tuple(path.name for path in self.deleted), _MOST_NAMED)
        stays = "kept beside it: those that can't be told apart from it, and the final file"
        found = [best, f"deleted as clearly worse: {names} ({formatting.size(self.size_bytes)}); {stays}"]
        return [*found, *(f"{path.name} could not be deleted: {reason}" for path, reason in self.left)]


def keep_best(folder: Path) -> Keeping:
    """Judge a run that has ended, and delete its clearly worse checkpoints. UsageError if the run is in use."""
    entry = history.require(str(folder), folder.parent)
    found = ranking.judge(ranking.find(str(folder), folder.parent))
    deleted, size, left = list[Path](), 0, list[tuple[Path, str]]()
    with run_owner.hold(folder):
        for path in _worse(found.checkpoints, folder, entry.name):
            try:
                taken = path.stat().st_size
                path.unlink()
            except OSError as error:
                left.append((path, error.strerror or str(error)))
            else:
                deleted.append(path)
                size += taken
    return Keeping(found, tuple(deleted), size, tuple(left))


def _worse(ranked: Sequence[RankedCheckpoint], folder: Path, name: str) -> list[Path]:
    """Files of the run's own that may go: plain ones in its folder, of its name."""
    found = []
    for one in ranked:
        path = one.candidate.path
        is_own = path.parent == folder and not path.is_symlink() and results.is_checkpoint(path, name)
        if one.standing is Standing.WORSE and not one.candidate.is_final and is_own and files.is_file(path):
            found.append(path)
    return found
