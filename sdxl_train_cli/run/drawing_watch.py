"""Draw what is missing of a grid. Each picture is whole or absent, and no picture that is drawn is drawn again."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from sdxl_train_cli import files, process
from sdxl_train_cli.errors import TrainingError, UsageError
from sdxl_train_cli.ranking import grid as grids
from sdxl_train_cli.ranking.grid import GridFolder, Pace
from sdxl_train_cli.run import drawing_time
from sdxl_train_cli.run.drawing import PLAN, PROMPTS, DrawingJob, PreparedDrawing

LOG = "drawing.log"
_LOCK = "drawing.lock"
_NAMES = "names.json"
"""Which picture is which, for a later start where this one is cut off."""
_NUMBERED = re.compile(r"im_(\d{6,})\.png")
_SAME_AGAIN = "what is drawn is kept: the same command draws the rest"
_OUT_OF_MEMORY = re.compile(r"OutOfMemoryError|CUDA out of memory")

Tell = Callable[[int, int], None]
"""Called with the number of pictures that are there, and the total."""


def recover(folder: GridFolder) -> int:
    """Take whole pictures out of a drawing that was cut off. Returns how many. UsageError while another goes on."""
    if not files.is_folder(folder.path):
        return 0
    with _held(folder):
        return _recovered(folder)


def draw(drawing: PreparedDrawing, tell: Tell) -> None:
    """Draw until nothing is missing. TrainingError if the script fails."""
    folder = drawing.folder
    folder.write(drawing.grid)
    with _held(folder), files.open_new(folder.path / LOG) as log:
        done = drawing.total - drawing.missing
        tell(done, drawing.total)
        paces: list[Pace] = []
        for job in drawing.jobs:
            work = [drawing_time.work(drawing.grid.prompts[cell.prompt]) for cell in job.cells]
            collector = _Collector(folder, job, partial(_tell_more, tell, done, drawing.total))
            try:
                with _disk_errors(folder):
                    _run(drawing, job, collector, log)
            finally:
                pace = collector.pace(work, drawing)
                paces += [] if pace is None else [pace]
                if paces:
                    folder.write(drawing.grid.model_copy(update={"pace": paces[0]}))
            done += len(job.cells)


def _tell_more(tell: Tell, done: int, total: int, taken: int) -> None:
    tell(done + taken, total)


def _run(drawing: PreparedDrawing, job: DrawingJob, collector: _Collector, log: BinaryIO) -> None:
    _recovered(drawing.folder)  # nothing of an earlier process may be taken for this one's
    _write(drawing.folder, job)
    last: list[str] = ["it said nothing"]
    try:
        with process.Child(job.argv, cwd=drawing.cwd, env=drawing.variables) as child:
            for line in child.lines(log):
                last = [*last, line.strip()][-_LAST_LINES:] if line and line.strip() else last
                collector.collect()
            code = child.wait()
    finally:
        collector.collect()
        shutil.rmtree(drawing.folder.drawing, ignore_errors=True)
    if code != 0 or collector.taken < len(job.cells):
        words = last[-1] if code != 0 else "it ended early"
        if any(_OUT_OF_MEMORY.search(line) for line in last):
            raise TrainingError("drawing ran out of GPU memory", f"draw smaller pictures: --size 768; {_SAME_AGAIN}")
        raise TrainingError(f"drawing failed: {words}", f"{_SAME_AGAIN}; full log: {drawing.folder.path / LOG}")


_LAST_LINES = 30


def _write(folder: GridFolder, job: DrawingJob) -> None:
    at = folder.drawing
    at.mkdir(parents=True, exist_ok=True)
    files.write(at / _NAMES, json.dumps([cell.file for cell in job.cells]))
    files.write(at / PLAN, json.dumps(job.plan))
    files.write(at / PROMPTS, "".join(f"{line}\n" for line in job.lines))
    if job.link is not None:
        files.copy(job.link[0], at / job.link[1])


def _recovered(folder: GridFolder) -> int:
    """Move whole pictures of the last process into place, and forget the rest."""
    taken = 0
    with contextlib.suppress(OSError, ValueError):
        names = files.read_json(folder.drawing / _NAMES)
        if isinstance(names, list):
            taken = sum(_moved(folder, path, str(names[number])) for number, path in _numbered(folder, len(names)))
    shutil.rmtree(folder.drawing, ignore_errors=True)
    return taken


def _numbered(folder: GridFolder, most: int) -> Iterator[tuple[int, Path]]:
    for path in sorted(folder.drawing.glob("im_*.png")):
        match = _NUMBERED.fullmatch(path.name)
        if match and 0 < int(match[1]) <= most:
            yield int(match[1]) - 1, path


def _moved(folder: GridFolder, path: Path, name: str) -> bool:
    """Move a picture into place if it is whole. Its name comes from a file, so it must be one of ours."""
    content = files.read_bytes(path)
    if not grids.is_whole(content) or Path(name).name != name or not name.endswith(".png"):
        return False
    files.write(folder.pictures / name, content)
    path.unlink()
    return True


@dataclass
class _Collector:
    """Moves pictures into place as they appear, and notes when they did."""

    folder: GridFolder
    job: DrawingJob
    tell: Callable[[int], None]
    taken: int = 0
    begun: float = field(default_factory=time.monotonic)
    moments: list[tuple[int, float]] = field(default_factory=list)

    def collect(self) -> None:
        """Take the pictures whose files have their end. The script may still be writing the last one."""
        for number, path in list(_numbered(self.folder, len(self.job.cells))):
            if _moved(self.folder, path, self.job.cells[number].file):
                self.taken += 1
                self.moments.append((number, time.monotonic()))
                self.tell(self.taken)

    def pace(self, work: list[float], drawing: PreparedDrawing) -> Pace | None:
        """From one picture to the next; the first also waits for the model."""
        seconds = [later[1] - earlier[1] for earlier, later in zip(self.moments, self.moments[1:], strict=False)]
        works = [work[number] for number, _when in self.moments[1:]]
        if not seconds or not self.moments:
            return None
        loading = max(0.0, self.moments[0][1] - self.begun - sum(seconds) / len(seconds))
        return drawing_time.measured(seconds, works, loading, drawing.device)


@contextlib.contextmanager
def _held(folder: GridFolder) -> Iterator[None]:
    """One drawing at a time for a run."""
    lock = FileLock(folder.path / _LOCK, timeout=0)
    try:
        with lock:
            yield
    except Timeout:
        raise UsageError(f"another command draws in {folder.path} now", "wait for it, or stop it with Ctrl-C") from None


@contextlib.contextmanager
def _disk_errors(folder: GridFolder) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        words = f"{folder.path} can't be written: {error.strerror or error}"
        raise TrainingError(words, f"make room; {_SAME_AGAIN}") from error
