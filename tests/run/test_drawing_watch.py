"""Drawing a grid with a script that draws as sd-scripts' does: whole or absent, and nothing twice."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from patience import until
from PIL import Image

from sdxl_train_cli import files, signals
from sdxl_train_cli.errors import TrainingError, UsageError
from sdxl_train_cli.ranking import grid as grids
from sdxl_train_cli.ranking.grid import GridCheckpoint, GridFolder, PromptLook
from sdxl_train_cli.run import drawing_watch
from sdxl_train_cli.run.drawing import DrawingJob, PreparedDrawing
from sdxl_train_cli.sdscripts.sample_prompts import SampleLook

# Draws a picture for each line of the prompts, in two halves, notes it, and may wait for ever or fail before one.
ARTIST = """
import pathlib, shutil, sys, time
folder, notes, last, code = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
content = pathlib.Path(sys.argv[5]).read_bytes()
for number, line in enumerate((folder / "prompts.txt").read_text().splitlines(), 1):
    with (folder / f"im_{number:06d}.png").open("wb") as file:
        file.write(content[:40])
        file.flush()
        if number > last:
            print("out of luck", flush=True)
            if code:
                sys.exit(code)
            time.sleep(600)
        file.write(content[40:])
    with notes.open("a") as file:
        file.write(line + "\\n")
"""


def prepared(folder: Path, last: int = 99, code: int = 0) -> PreparedDrawing:
    """A grid of a base and a checkpoint at two strengths, six pictures, of which `last` are finished."""
    prompts = grids.read_prompts(["a boat", "a hat"], PromptLook(SampleLook(64, 64, 2, 6.0, "")))
    files_ = [GridCheckpoint(file="a.safetensors", moment="final", sha256="a")]
    laid = grids.lay_out({}, files_, (0.5, 1.0), prompts)
    grid_folder = GridFolder(folder)
    artist, content = folder / "artist.py", folder / "content.png"
    artist.write_text(ARTIST, encoding="utf-8")
    packed = io.BytesIO()
    Image.effect_noise((64, 64), 80).save(packed, "PNG")
    content.write_bytes(packed.getvalue())
    missing = grid_folder.missing(laid)
    arguments = (grid_folder.drawing, folder / "notes", last, code, content)
    lines = tuple(f"{cell.prompt} {cell.seed} {cell.strength:g} {cell.checkpoint}" for cell in missing)
    job = DrawingJob((sys.executable, str(artist), *map(str, arguments)), {}, lines, tuple(missing))
    jobs = (job,) if missing else ()
    return PreparedDrawing(grid_folder, laid, jobs, folder, dict(os.environ), None, None, None)


def drawn(folder: Path) -> Mapping[str, int]:
    return Counter((folder / "notes").read_text(encoding="utf-8").splitlines())


def pictures(folder: Path) -> list[Path]:
    return sorted(GridFolder(folder).pictures.glob("*.png"))


def test_every_picture_comes_to_its_place_and_the_pace_is_kept(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    ready = prepared(tmp_path)

    drawing_watch.draw(ready, lambda done, total: told.append((done, total)))

    assert told[0] == (0, 6)
    assert told[-1] == (6, 6)
    assert ready.folder.missing(ready.grid) == []
    assert not ready.folder.drawing.exists()
    kept = ready.folder.load()
    assert kept is not None
    assert kept.pace is None or kept.pace.device == "processor"
    assert prepared(tmp_path).jobs == ()


def test_a_script_that_fails_leaves_what_it_drew_and_the_same_command_draws_the_rest(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="drawing failed: out of luck"):
        drawing_watch.draw(prepared(tmp_path, last=3, code=1), lambda _done, _total: None)
    assert len(pictures(tmp_path)) == 3

    again = prepared(tmp_path)
    assert again.missing == 3
    assert again.words.startswith("3 pictures (3 of 6 are there), the base model loaded once")
    drawing_watch.draw(again, lambda _done, _total: None)

    assert len(pictures(tmp_path)) == 6
    assert set(drawn(tmp_path).values()) == {1}


def test_ctrl_c_leaves_what_is_drawn_and_nothing_that_runs(tmp_path: Path) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 2:
            raise signals.Stopped(2)

    ready = prepared(tmp_path, last=4)
    with pytest.raises(signals.Stopped):
        drawing_watch.draw(ready, stop)

    assert 2 <= len(pictures(tmp_path)) <= 4
    assert not ready.folder.drawing.exists()
    assert drawing_watch.recover(ready.folder) == 0
    drawing_watch.draw(prepared(tmp_path), lambda _done, _total: None)
    assert len(pictures(tmp_path)) == 6


def test_a_script_that_ends_early_with_success_is_no_success(tmp_path: Path) -> None:
    ready = prepared(tmp_path)
    job = replace(ready.jobs[0], argv=(sys.executable, "-c", "print('done!')"))

    with pytest.raises(TrainingError, match="it ended early"):
        drawing_watch.draw(replace(ready, jobs=(job,)), lambda _done, _total: None)


def test_running_out_of_memory_is_told_with_a_smaller_size(tmp_path: Path) -> None:
    ready = prepared(tmp_path)
    words = "import sys; print('torch.OutOfMemoryError: CUDA out of memory.'); print('  at the end'); sys.exit(1)"
    job = replace(ready.jobs[0], argv=(sys.executable, "-c", words))

    with pytest.raises(TrainingError, match="ran out of GPU memory"):
        drawing_watch.draw(replace(ready, jobs=(job,)), lambda _done, _total: None)


KILLED = """
import sys
sys.path[:0] = [{tests!r}, {here!r}]
from pathlib import Path
from test_drawing_watch import prepared
from sdxl_train_cli.run import drawing_watch
drawing_watch.draw(prepared(Path(sys.argv[1]), last=4), lambda done, total: print(done, flush=True))
"""


def test_after_a_kill_nothing_is_lost_but_the_current_picture_and_nothing_is_drawn_twice(tmp_path: Path) -> None:
    here = Path(__file__).parent
    code = KILLED.format(tests=str(here.parent), here=str(here))
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as child:
        until(lambda: (tmp_path / "notes").is_file() and len(drawn(tmp_path)) == 4)
        child.kill()
    grid_folder = GridFolder(tmp_path)
    until(lambda: not _is_held(grid_folder))

    drawing_watch.recover(grid_folder)
    assert len(pictures(tmp_path)) == 4
    assert all(grids.is_whole(path.read_bytes()) for path in pictures(tmp_path))
    drawing_watch.draw(prepared(tmp_path), lambda _done, _total: None)

    assert len(pictures(tmp_path)) == 6
    assert set(drawn(tmp_path).values()) == {1}


def _is_held(folder: GridFolder) -> bool:
    try:
        drawing_watch.recover(folder)
    except UsageError:
        return True
    return False


def test_whole_pictures_that_a_killed_command_left_are_taken_and_halves_are_not(tmp_path: Path) -> None:
    ready = prepared(tmp_path)
    ready.folder.write(ready.grid)
    ready.folder.drawing.mkdir(parents=True)
    names = [cell.file for cell in ready.jobs[0].cells]
    whole = (tmp_path / "content.png").read_bytes()
    files.write(ready.folder.drawing / "names.json", str(["../../outside.png", *names[1:]]).replace("'", '"'))
    for number, content in ((1, whole), (2, whole), (3, whole[:-4]), (99, whole)):
        (ready.folder.drawing / f"im_{number:06d}.png").write_bytes(content)

    assert drawing_watch.recover(ready.folder) == 1

    assert [path.name for path in pictures(tmp_path)] == [names[1]]
    assert not (tmp_path / "outside.png").exists()


def test_two_commands_do_not_draw_the_same_grid_at_once(tmp_path: Path) -> None:
    ready = prepared(tmp_path)
    ready.folder.write(ready.grid)
    with FileLock(ready.folder.path / "drawing.lock"), pytest.raises(UsageError, match="another command draws"):
        drawing_watch.draw(ready, lambda _done, _total: None)
