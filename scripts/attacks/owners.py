"""A person's own folders where a careless program would take them for its own: nothing of theirs is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from attacks import calls, judge, scene
from attacks.tally import Problem
from attacks.world import World

Found = Iterator[Problem]


def home_of_mine(made: World, folder: Path) -> Found:
    """A folder of a person's, named as our home by mistake."""
    project = folder / "project"
    (project / "environments" / "prod").mkdir(parents=True)
    for name in (
        "environments/prod/settings.yaml",
        "environments/notes.md",
        "current",
        "setup.log",
        "src.py",
        "tokenizers",
    ):
        (project / name).write_text("mine\n", encoding="utf-8")
    before = judge.digest(project)
    for words in (["--home", "."], ["--home", str(project)], ["--home", "./"], ["--home", "../project", "--recreate"]):
        called = calls.run(["setup", *words], project, made.environ(folder), made.logs)
        yield from judge.problems(called, "--home of a person's")
        yield from judge.lost(before, "home of mine")
    called = calls.run(["setup", "--recreate"], project, made.environ(folder, SDXL_TRAIN_HOME="."), made.logs)
    yield from judge.problems(called, "SDXL_TRAIN_HOME of a person's")
    yield from judge.lost(before, "home of mine")


def home_empty(made: World, folder: Path) -> Found:
    """An unset variable as home, in a folder of a person's."""
    project = folder / "project"
    (project / "environments" / "prod").mkdir(parents=True)
    (project / "environments" / "prod" / "settings.yaml").write_text("mine\n", encoding="utf-8")
    before = judge.digest(project)
    called = calls.run(["setup", "--home", ""], project, made.environ(folder), made.logs)
    yield from judge.problems(called, "--home ''")
    yield from judge.lost(before, "home empty")
    if called.code == 0:
        yield Problem("an empty --home is taken for the current folder", str(sorted(os.listdir(project))))  # noqa: PTH208


def home_with_mine(made: World, folder: Path) -> Found:
    """Our own home, in which a person keeps folders too."""
    home = folder / "home"
    shutil.copytree(made.home, home, symlinks=True)
    (home / "environments" / "my-venv" / "bin").mkdir(parents=True)
    (home / "environments" / "my-venv" / "bin" / "tool.py").write_text("mine\n", encoding="utf-8")
    (home / "environments" / "todo.txt").write_text("mine\n", encoding="utf-8")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "thesis.tex").write_text("mine\n", encoding="utf-8")
    (home / "environments" / "20250101-000000-abcd").symlink_to(folder / "elsewhere")
    before = judge.digest(home / "environments" / "my-venv", home / "environments" / "todo.txt", folder / "elsewhere")
    for words in (["--recreate"], ["--ref", "main"], []):
        called, problems = scene.call(made, folder, "setup", "--home", home, *words)
        yield from problems
        yield from judge.lost(before, "home with mine")
        if called.code != 0:
            yield Problem("a person's folder in the home ends setup", called.told[-200:])


def torn_current(made: World, folder: Path) -> Found:
    """A pointer lost in a power cut, and then a setup that can't succeed."""
    for number, text in enumerate((b"", b"\0" * 26, b"2025", b"../..", b"\xff\xfe", b".")):
        home = folder / f"home-{number}"
        shutil.copytree(made.home, home, symlinks=True)
        (made_ones := list((home / "environments").iterdir())).sort()
        (home / "current").write_bytes(text)
        nowhere = ["--source", str(folder / "nowhere"), "--home", str(home)]
        _, problems = scene.call(made, folder, "setup", *nowhere)
        yield from problems
        if not all((one / "lock.json").exists() for one in made_ones):
            yield Problem("a torn `current` and a failed setup destroy the good environment", repr(text))


def keep_result(made: World, folder: Path) -> Found:
    """A record whose name is not the file's."""
    for number, name in enumerate(("dog", "", "../cat", "CAT", "cat.safetensors", "*")):
        run = scene.foreign_run(made, folder / str(number), partial(dict.update, name=name), ended=True)
        called, problems = scene.call(made, folder, "runs", "rm", run, "--keep-result", "--yes")
        yield from problems
        if not (run / "cat.safetensors").exists():
            words = f"the record's name is {name!r}: {called.told[-200:]}"
            yield Problem("runs rm --keep-result deletes the result", words)


def rm_of_mine(made: World, folder: Path) -> Found:
    """Folders that only look like a run, or that links lead to."""
    photos = folder / "photos"
    photos.mkdir()
    (photos / "wedding.raw").write_text("mine", encoding="utf-8")
    run = scene.foreign_run(made, folder, lambda _: None, ended=True)
    (run / "logs-of-mine").symlink_to(photos)
    (folder / "output" / "linked").symlink_to(photos)
    (folder / "fake").mkdir()
    (folder / "fake" / "run.json").write_text('{"sdxl_train": "0.1.0"}', encoding="utf-8")
    (folder / "fake" / "diary.txt").write_text("mine", encoding="utf-8")
    (photos / "run.json").symlink_to(run / "run.json")
    before = _theirs(folder)
    for target in ("linked", "../photos", str(photos), "..", ".", "cat/..", "cat/logs-of-mine", str(folder / "fake")):
        _, problems = scene.call(made, folder, "runs", "rm", target, "--yes")
        yield from problems
        yield from judge.lost(before, "rm of mine")
    _, problems = scene.call(made, folder, "runs", "rm", "cat", "--yes")
    yield from problems
    yield from judge.lost(_without(before, run), "rm of mine")


def states_of_mine(made: World, folder: Path) -> Found:
    """Folders beside a run's states, which are pruned when it is done."""
    run = scene.foreign_run(made, folder, lambda _: None)
    mine = run / "my-notes-state"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine", encoding="utf-8")
    (run / "linked-state").symlink_to(folder / "mine")
    before = {**_without(_theirs(folder), run), **judge.digest(mine, run / "linked-state")}
    _, problems = scene.call(made, folder, "runs", "resume", run, "--no-vram-check", "--steps", "9")
    yield from problems
    yield from judge.lost(before, "states of mine")


def fix_into_mine(made: World, folder: Path) -> Found:
    """A copy of a dataset into folders that hold something."""
    data = folder / "data"
    shutil.copytree(made.pictures, data)
    (folder / "linked").symlink_to(data)
    scene.call(made, folder, "dataset", "fix", "data", "--to", "new")
    for name in (path.name for path in (folder / "new").glob(".*")):
        shutil.copy2(folder / "new" / name, folder / "mine" / name)
    (folder / "mine" / "0.png").write_text("mine", encoding="utf-8")
    before = judge.digest(data, folder / "mine")
    for to in ("mine", "data", "linked", "data/sub", ".", "..", str(folder / "letters")):
        _, problems = scene.call(made, folder, "dataset", "fix", "data", "--to", to)
        yield from problems
        yield from judge.lost({one: was for one, was in before.items() if ".fix" not in one}, "fix into mine")


def forged_journal(made: World, folder: Path) -> Found:
    """A fix's journal that names files elsewhere as its own."""
    data = folder / "data"
    shutil.copytree(made.pictures, data)
    scene.call(made, folder, "dataset", "fix", "data", "--to", "new")
    for path in (folder / "new").iterdir():
        if path.is_file() and (path.suffix not in {".png", ".txt"} or path.name.startswith(".fix")):
            text = path.read_text(encoding="utf-8", errors="replace")
            for name in ("0.png", "0.txt"):
                text = text.replace(f'"{name}"', '"../mine/novel.txt"')
            path.write_text(text, encoding="utf-8")
    (data / "0.png").unlink()
    before = _without(_theirs(folder), folder / "new")
    _, problems = scene.call(made, folder, "dataset", "fix", "data", "--to", "new")
    yield from problems
    yield from judge.lost(before, "forged journal")


def _theirs(folder: Path) -> dict[str, str]:
    """All that lies in a person's folder, but for what the command keeps there for itself."""
    return _without(judge.digest(folder), *(folder / name for name in ("user", "config", "tmp")))


def _without(digest: dict[str, str], *ours: Path) -> dict[str, str]:
    return {name: was for name, was in digest.items() if not any(Path(name).is_relative_to(one) for one in ours)}


def smoke_over_mine(made: World, folder: Path) -> Found:
    """A smoke whose output holds files of the names that it writes."""
    out = folder / "out"
    for name in (
        "material/pictures/a.png",
        "material/model.safetensors",
        "smoke-lora/novel.txt",
        "smoke-lora.safetensors",
    ):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine", encoding="utf-8")
    before = judge.digest(out)
    for more in (["--keep"], []):
        _, problems = scene.call(made, folder, "smoke", "--output", "out", *more)
        yield from problems
        yield from judge.lost(before, "smoke over mine")
