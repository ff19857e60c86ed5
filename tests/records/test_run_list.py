"""A long list takes ended runs from an index, and is as true as one that reads every file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from kept_runs import DONE, keep

from sdxl_train_cli import files, layout
from sdxl_train_cli.records import ended_index, run_list

NAMES = ("a", "b", "c", "d", "кот e")


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five runs, which count as many."""
    monkeypatch.setattr(run_list, "_MANY", 3)
    monkeypatch.setenv("SDXL_TRAIN_CACHE", str(tmp_path / "cache"))
    for name in NAMES:
        keep(tmp_path / "output" / name)
    return tmp_path / "output"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read from now on."""
    found, read = list[str](), files.read_bytes

    def noted(path: Path, *more: int) -> bytes:
        found.append(f"{path.parent.name}/{path.name}")
        return read(path, *more)

    monkeypatch.setattr(files, "read_bytes", noted)
    return found


def seen(output: Path) -> dict[str, tuple[str, float | None]]:
    return {each.folder_name: (each.state.value, each.loss) for each in run_list.entries(output)}


def test_a_long_list_opens_no_file_of_runs_that_it_knows(output: Path, opened: list[str]) -> None:
    first = run_list.entries(output)
    assert len(opened) > len(NAMES)
    opened.clear()

    assert run_list.entries(output) == first
    assert opened == []


def _edit(output: Path) -> None:
    (output / "a" / "outcome.json").write_text(json.dumps({**DONE, "loss": 0.5}), encoding="utf-8")


def _edit_at_the_same_time(output: Path) -> None:
    path = output / "a" / "outcome.json"
    before = path.stat()
    path.write_text(path.read_text(encoding="utf-8").replace("0.125", "0.521"), encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _break(output: Path) -> None:
    (output / "a" / "run.json").write_text("{", encoding="utf-8")


def _resume_and_kill(output: Path) -> None:
    (output / "a" / "outcome.json").unlink()


def _resume(output: Path) -> None:
    (output / "a" / "running.json").write_text(json.dumps({"pid": os.getpid(), "host": "elsewhere"}), encoding="utf-8")


def _delete_one_and_rename_another(output: Path) -> None:
    shutil.rmtree(output / "a")
    (output / "b").rename(output / "z")


def _break_the_index(_output: Path) -> None:
    (layout.cache_folder(os.environ) / ended_index.NAME).write_bytes(b"no database at all" * 100)


def _let_the_index_lie(_output: Path) -> None:
    with ended_index._opened() as database, database:  # noqa: SLF001 - what a kill can't write
        database.execute("UPDATE ended SET facts = replace(facts, '0.125', '0.521')")


def _let_the_index_say_nonsense(output: Path) -> None:
    known = ended_index.load(output, "run")
    odd = ([], ["done"], ["running", *[None] * 10], [3] * 11, {"done": 1})
    ended_index.keep(
        output, [known[name]._replace(facts=facts) for name, facts in zip(NAMES, odd, strict=True)], what="run"
    )


def _let_two_names_swap(output: Path) -> None:
    (output / "a").rename(output / "spare")
    (output / "b").rename(output / "a")
    (output / "spare").rename(output / "b")


@pytest.mark.parametrize(
    "change",
    [_edit, _edit_at_the_same_time, _break, _resume_and_kill, _resume, _delete_one_and_rename_another,
     _break_the_index, _let_the_index_lie, _let_the_index_say_nonsense, _let_two_names_swap],
)  # fmt: skip
def test_an_index_never_speaks_against_the_folders(
    output: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    seen(output)
    change(output)
    told = seen(output)
    again = seen(output)

    monkeypatch.setattr(run_list, "_MANY", 1000)
    assert told == again == seen(output)


def test_a_list_is_shown_where_no_index_can_be_written(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (output.parent / "a file").touch()
    monkeypatch.setenv("SDXL_TRAIN_CACHE", str(output.parent / "a file"))

    assert set(seen(output)) == set(NAMES)
