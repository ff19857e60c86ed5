"""What was looked at is remembered, and a look at many large pictures takes no more memory than at one."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from odd_files import photo, saved
from PIL import Image

from sdxl_train_cli.dataset import folders, picture, survey
from sdxl_train_cli.dataset.decode_memory import DecodeMemory
from sdxl_train_cli.dataset.file_facts import FileFault, Survey
from sdxl_train_cli.dataset.survey_cache import BY_CONTENT, NAME, SurveyCache

MARK = 7
"""A width that no picture has: whoever tells of it has it from the cache."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number in range(3):
        saved(tmp_path / "data" / f"{number}.png", photo(number, (96, 64)), f"ohwx, number {number}")
    return tmp_path / "data"


def look(data: Path, cache: Path) -> Survey:
    found, problems = folders.find(data, regularisation=None, repeats=None, trigger=None)
    assert not problems
    return survey.survey(found, cache_folder=cache)


def widths(seen: Survey) -> list[int]:
    return [each.facts.width for each in seen.seen]


def mark(cache: Path) -> None:
    """Write another width into all that is kept of pictures."""
    with sqlite3.connect(cache / NAME) as database:
        rows = database.execute("SELECT path, facts FROM files WHERE content != ''").fetchall()
        marked = [(json.dumps({**json.loads(facts), "width": MARK}), path) for path, facts in rows]
        database.executemany("UPDATE files SET facts = ? WHERE path = ?", marked)
    database.close()


def test_what_is_as_it_was_is_not_read_again(data: Path, tmp_path: Path) -> None:
    first = look(data, tmp_path / "cache")
    again = look(data, tmp_path / "cache")
    mark(tmp_path / "cache")

    assert again == first
    assert widths(look(data, tmp_path / "cache")) == [MARK, MARK, MARK]


def test_a_picture_and_a_caption_that_changed_are_read_again(data: Path, tmp_path: Path) -> None:
    look(data, tmp_path / "cache")
    mark(tmp_path / "cache")
    times = (data / "1.png").stat()
    saved(data / "1.png", photo(9, (80, 64)), "another")
    os.utime(data / "1.png", ns=(times.st_atime_ns, times.st_mtime_ns))  # as a copying program may leave it

    seen = look(data, tmp_path / "cache")

    assert widths(seen) == [MARK, 80, MARK]
    assert [each.caption.text for each in seen.seen if each.caption] == ["ohwx, number 0", "another", "ohwx, number 2"]


def test_a_picture_that_was_moved_is_known_by_its_content(data: Path, tmp_path: Path) -> None:
    look(data, tmp_path / "cache")
    mark(tmp_path / "cache")
    shutil.copytree(data, tmp_path / "elsewhere")

    assert widths(look(tmp_path / "elsewhere", tmp_path / "cache")) == [MARK, MARK, MARK]


@pytest.mark.parametrize("content", [b"", b"this is no database", os.urandom(20_000)])
def test_a_broken_cache_is_made_anew(data: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / NAME).write_bytes(content)

    look(data, tmp_path / "cache")
    mark(tmp_path / "cache")

    assert widths(look(data, tmp_path / "cache")) == [MARK, MARK, MARK]


def test_what_is_kept_in_another_form_is_looked_at_anew(data: Path, tmp_path: Path) -> None:
    look(data, tmp_path / "cache")
    with sqlite3.connect(tmp_path / "cache" / NAME) as database:
        database.execute("UPDATE files SET facts = '[1]'")
    database.close()

    assert widths(look(data, tmp_path / "cache")) == [96, 96, 96]


def test_while_another_command_writes_for_long_it_is_done_without(data: Path, tmp_path: Path) -> None:
    look(data, tmp_path / "cache")
    other = sqlite3.connect(tmp_path / "cache" / NAME)
    other.execute("BEGIN EXCLUSIVE")

    assert widths(look(data, tmp_path / "cache")) == [96, 96, 96]
    other.close()


def kept_after_days(folder: Path, monkeypatch: pytest.MonkeyPatch, *days: Sequence[str]) -> set[str]:
    """Meet new files day after day, where four of a kind are remembered; give those that still are."""
    for day, names in enumerate(days):
        monkeypatch.setattr("time.time", lambda day=day: 86_400.0 * (100 + day))
        cache = SurveyCache(folder, most=4)
        cache.keep((Path(name), "stamp", "" if name.endswith(".txt") else f"SHA of {name}", "{}") for name in names)
        cache.close()
    cache = SurveyCache(folder)
    found = cache.of([Path(name) for names in days for name in names])
    cache.close()
    return {str(path) for path in found}


@pytest.mark.parametrize("suffix", [".txt", ".png"])
def test_files_not_met_for_longest_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    old, *others = [f"{name}{suffix}" for name in ["old", "a", "b", "c", "d"]]

    assert kept_after_days(tmp_path, monkeypatch, [old], others[:2], others[2:]) == set(others)


def test_what_was_met_today_is_never_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    today = [f"{number}.png" for number in range(9)]

    assert kept_after_days(tmp_path, monkeypatch, ["old.png"], today) == set(today)


def test_captions_do_not_drive_out_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, captions = ["a.png", "b.png"], [f"{number}.txt" for number in range(4)]

    assert kept_after_days(tmp_path, monkeypatch, pictures, captions) == {*pictures, *captions}


def test_a_picture_is_found_by_its_content_without_reading_all_that_is_kept(tmp_path: Path) -> None:
    """50,000 pictures took ten times as long as they do."""
    SurveyCache(tmp_path).close()
    database = sqlite3.connect(tmp_path / NAME)

    plan = database.execute(f"EXPLAIN QUERY PLAN {BY_CONTENT}", ("SHA",)).fetchall()
    database.close()

    assert "USING INDEX by_content" in plan[0][-1]


def test_pictures_wait_until_there_is_room_for_them() -> None:
    memory, order = DecodeMemory(100), list[str]()

    def take(pixels: int, name: str) -> None:
        with memory.reserve(pixels):
            order.append(name)

    with memory.reserve(60):
        large = threading.Thread(target=take, args=(1_000_000, "large"))
        large.start()
        take(40, "small")
        assert large.is_alive()
    large.join(10)

    assert order == ["small", "large"]


def test_a_picture_that_breaks_off_in_its_head_is_told_without_our_own_file_object(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\nnothing")

    facts = picture.read_facts(path)

    assert (facts.fault, facts.error) == (FileFault.TRUNCATED, "nothing after its first bytes makes sense")


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not tell a process's peak")
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_many_large_pictures_take_less_than_300_megabytes(tmp_path: Path, form: str) -> None:
    (tmp_path / "data").mkdir()
    first = tmp_path / "data" / f"0.{form.lower()}"
    plain = Image.linear_gradient("L").resize((6000, 4000)).convert("RGB")  # as large in memory as any, and soon read
    plain.save(first, form, compress_level=1, progressive=True)
    for number in range(1, 4):
        first.with_stem(str(number)).write_bytes(first.read_bytes() + bytes(number))
    command = [sys.executable, "-m", "sdxl_train_cli.cli", "dataset", "check", str(tmp_path / "data"), "-t", "ohwx"]

    # By a small process of its own: a child's peak begins with what its parent held when it was started.
    peak = int(subprocess.run([sys.executable, "-c", PEAK, *command], check=True, capture_output=True).stdout)

    assert peak * (1 if sys.platform == "darwin" else 1024) < 300e6


PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
