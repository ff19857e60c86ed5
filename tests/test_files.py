from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from sdxl_train_cli import files


def test_what_is_written_is_there_whole_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "record.json"
    files.write(target, "old")
    files.write(target, "Привет\n")
    assert target.read_bytes() == "Привет\n".encode()
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_there_is_not_written_over_where_that_is_not_wanted(tmp_path: Path) -> None:
    files.write(tmp_path / "mine", "old", over=False)
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("mine", "link"):
        with pytest.raises(FileExistsError):
            files.write(tmp_path / name, "new", over=False)
    assert (tmp_path / "mine").read_text() == "old"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_device_is_not_renamed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(os.devnull)
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match="not a plain file"):
            files.write(tmp_path / name, "text")
    assert (tmp_path / "link").is_char_device()


def test_a_name_of_the_longest_length_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 255)
    files.write(target, b"\x00")
    assert target.read_bytes() == b"\x00"


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "record.json"
    files.write(target, "old")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_on_windows_a_file_that_a_scanner_holds_open_is_written_once_it_lets_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, refused = tmp_path / "record.json", [PermissionError(13, "Access is denied")] * 3
    replace = Path.replace

    def held(self: Path, to: Path) -> Path:
        if refused:
            raise refused.pop()
        return replace(self, to)

    monkeypatch.setattr(files.sys, "platform", "win32")
    monkeypatch.setattr(files, "_TRY_SECONDS", 0)
    monkeypatch.setattr(Path, "replace", held)
    files.write(target, "new")
    assert target.read_text() == "new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a plain file"):
        files.read_bytes(tmp_path / "pipe")


def test_more_than_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 11)
    assert len(files.read_bytes(tmp_path / "large", 11)) == 11
    with pytest.raises(ValueError, match="larger than 10 bytes"):
        files.read_bytes(tmp_path / "large", 10)


def test_a_mark_before_the_text_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf{}")
    assert files.read_json(tmp_path / "a.json") == {}


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 100_000, "1" * 41, "-" + "1" * 5000, "{", "", b"\xff\xfe\x00", "\x00"],
    ids=["lists", "objects", "integer", "longer", "torn", "empty", "bytes", "nul"],
)
def test_json_that_can_not_be_used_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each says it in its own words
        files.parse_json(text)


def test_the_longest_integers_that_files_hold_are_taken() -> None:
    assert files.parse_json(json.dumps(2**64)) == 2**64


@pytest.mark.parametrize("name", ["n" * 300, "nul\0byte", "/" * 5000 + "x", "\udcff"])
def test_a_name_that_no_file_system_takes_is_not_there(tmp_path: Path, name: str) -> None:
    assert not files.is_file(tmp_path / name)
    assert not files.is_folder(tmp_path / name)
    assert not files.exists(tmp_path / name)


def test_what_a_power_cut_leaves_is_known_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _handle: left.extend(path.name for path in tmp_path.iterdir()))
    files.write(tmp_path / "a.json", "{}")

    assert re.fullmatch(files.HALF_WRITTEN, left[0])
