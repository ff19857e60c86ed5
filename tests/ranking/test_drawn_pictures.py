"""Which pictures tell of which checkpoint, and which the training's own are."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from conftest import write_safetensors
from kept_runs import SETTINGS, keep
from PIL import Image

from sdxl_train_cli.ranking import drawn_pictures, evidence, grid, verdict
from sdxl_train_cli.ranking.grid import GridCheckpoint
from sdxl_train_cli.records import history, recorded_prompts
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.run import drawing_choices
from sdxl_train_cli.sdscripts import results

PROMPTS = {"sample_prompts": {"value": "prompts.txt", "origin": "the samples"}}


def run(tmp_path: Path) -> Loaded:
    """A run of four steps with samples at the start, at step 2 and at its end."""
    regular, class_ = tmp_path / "pictures", tmp_path / "class"
    for folder in (regular, class_):
        folder.mkdir()
        for name in ("a.png", "b.PNG", "a.txt", ".hidden.png"):
            Image.new("RGB", (8, 8)).save(folder / name, "PNG")
    folders = [
        {"path": str(path), "pictures": 2, "repeats": 1, "is_reg": path is class_}
        for path in (regular, class_, tmp_path / "gone")
    ]
    folder = keep(
        tmp_path / "cat", name="cat", settings={**SETTINGS, **PROMPTS}, dataset={"fingerprint": "", "folders": folders}
    )
    (folder / "prompts.txt").write_text("a boat --w 512\n# no\na hat --d 3\n", encoding="utf-8")
    for name in ("cat-step00000002", "cat"):
        write_safetensors(folder / f"{name}.safetensors")
    (folder / "sample").mkdir()
    for moment, stamp in (("e000000", 1), ("000002", 2), ("000002", 5), ("000003", 3), ("e000002", 4)):
        for prompt in (0, 1, 2):
            name = f"cat_{moment}_{prompt:02}_2026010210000{stamp}_1000.png"
            Image.new("RGB", (8, 8)).save(folder / "sample" / name)
    return history.load(folder)


def test_samples_belong_to_the_checkpoint_of_their_step_and_the_last_of_each_counts(tmp_path: Path) -> None:
    entry = run(tmp_path)
    found = verdict.judge(evidence.of_run(entry))

    drawn = drawn_pictures.there(entry, found)

    assert drawn.are_samples
    assert drawn.prompts == ("a boat", "a hat")
    assert [(one.checkpoint and one.checkpoint.stem, one.strength, one.prompt) for one in drawn.pictures] == [
        (None, 0.0, 0), (None, 0.0, 1), ("cat-step00000002", 1.0, 0), ("cat-step00000002", 1.0, 1),
    ]  # fmt: skip
    assert {one.path.name[14:] for one in drawn.pictures if one.checkpoint} == {"20260102100005_1000.png"}


def test_of_two_files_with_one_step_the_samples_are_the_better_ones(tmp_path: Path) -> None:
    entry = run(tmp_path)
    found = verdict.judge(evidence.of_run(entry))
    last = replace(found.best.candidate, step=2)
    candidates = tuple(last if one == found.best.candidate else one for one in found.evidence.candidates)
    known = replace(found.evidence, candidates=candidates)
    found = replace(found, best=replace(found.best, candidate=last), evidence=known)

    drawn = drawn_pictures.there(entry, found)

    assert {one.checkpoint and one.checkpoint.name for one in drawn.pictures} == {None, "cat.safetensors"}


def test_pictures_of_files_that_are_gone_or_trained_anew_tell_nothing(tmp_path: Path) -> None:
    entry = run(tmp_path)
    paths = [entry.folder / f"{name}.safetensors" for name in ("cat-step00000002", "cat")]
    files = [GridCheckpoint(file=path.name, moment=path.stem, sha256=results.weights_sha256(path)) for path in paths]
    laid = grid.lay_out({}, files, (1.0,), drawing_choices.prompts(entry, drawing_choices.PictureWishes(seeds=1)))
    folder = grid.GridFolder(entry.folder)
    folder.write(laid)
    for cell in laid.cells:
        folder.picture(cell).write_bytes(b"drawn")

    def told() -> set[str | None]:
        drawn = drawn_pictures.of_grid(folder, laid)
        return {one.checkpoint and one.checkpoint.stem for one in drawn.pictures}

    assert told() == {None, "cat-step00000002", "cat"}
    later = time.time() + 100
    os.utime(paths[0], (later, later))
    assert told() == {None, "cat-step00000002", "cat"}
    write_safetensors(paths[0], dim=2)
    os.utime(paths[0], (later, later))
    assert told() == {None, "cat"}
    paths[1].unlink()
    assert told() == {None}


def test_training_pictures_are_those_that_sd_scripts_takes_without_regularization(tmp_path: Path) -> None:
    found = drawn_pictures.training_pictures(run(tmp_path))

    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["pictures/a.png", "pictures/b.PNG"]


def test_a_grid_takes_the_runs_own_prompts_with_what_they_say(tmp_path: Path) -> None:
    entry = run(tmp_path)

    assert recorded_prompts.lines(entry) == ["a boat --w 512", "a hat --d 3"]
    boat, hat = drawing_choices.prompts(entry, drawing_choices.PictureWishes())
    assert (boat.width, boat.height, boat.seeds) == (512, 1024, (1000, 11000))
    assert hat.seeds == (3, 10003)


def test_the_files_to_draw_are_the_best_and_others_over_the_whole_training(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat", name="cat")
    for step in range(100, 2100, 100):
        write_safetensors(folder / f"cat-step{step:08}.safetensors")
    found = verdict.judge(evidence.of_run(history.load(folder)))

    assert [one.step for one in drawing_choices.checkpoints(found, ())] == [100, 600, 1100, 1500, 2000] or [
        one.step for one in drawing_choices.checkpoints(found, ())
    ] == [100, 600, 1000, 1500, 2000]
    assert [one.step for one in drawing_choices.checkpoints(found, ("step 300", "200"))] == [200, 300]
