"""An exception that nobody has expected: one line for the person, the traceback in a file."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result

from sdxl_train_cli import crash_report
from sdxl_train_cli.commands import workspace


def test_a_fault_of_ours_is_one_line_and_its_traceback_a_file(
    main: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def break_down() -> None:
        raise KeyError("\x1b[31mred\nerror: two")

    monkeypatch.setenv("SDXL_TRAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(workspace, "user_presets", break_down)

    result = main("presets", "list")

    kept = tmp_path / "cache" / "last-fault.txt"
    assert result.code == 1
    assert result.stderr.splitlines() == [
        r"error: a bug in sdxl-train: KeyError: '\x1b[31mred\nerror: two'",
        f"hint:  please report it with {kept}",
    ]
    assert "break_down" in kept.read_text(encoding="utf-8")


def test_where_no_file_can_be_written_the_traceback_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    problem, code = crash_report.explain(ValueError("x" * 10_000), {"SDXL_TRAIN_CACHE": str(tmp_path / "file")})

    assert code == 1
    assert len(problem.message) < 400
    assert "ValueError: xxx" in (problem.hint or "")


@pytest.mark.parametrize("name", ["a" * 300, b"a" * 300])
def test_a_name_that_the_system_refuses_is_the_persons_to_mend(name: str | bytes, tmp_path: Path) -> None:
    error = OSError(errno.ENAMETOOLONG, "File name too long", name)

    problem, code = crash_report.explain(error, {"SDXL_TRAIN_CACHE": str(tmp_path)})

    assert code == 2
    assert problem.message == f"{'a' * 300}: File name too long"
    assert "last-fault" not in (problem.hint or "")
    assert "File name too long" in (tmp_path / "last-fault.txt").read_text(encoding="utf-8")


def test_a_full_disk_is_told_without_a_name(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, "No space left on device")

    problem, code = crash_report.explain(error, {"SDXL_TRAIN_CACHE": str(tmp_path)})

    assert (problem.message, code) == ("a file could not be written: No space left on device", 2)


def test_an_error_of_the_system_without_a_file_is_a_fault(tmp_path: Path) -> None:
    _, code = crash_report.explain(OSError(errno.EBADF, "Bad file descriptor"), {"SDXL_TRAIN_CACHE": str(tmp_path)})

    assert code == 1


def test_what_was_mistyped_is_told_without_what_a_terminal_obeys(main: Callable[..., Result]) -> None:
    for line in (["lora", "--steps", "\x1b[2J"], ["lora", "--no\x1b[2J\nerror: fake"], ["x\x1b\r\u202e"]):
        result = main(*line)

        assert result.code == 2
        assert "\x1b" not in result.stderr
        assert result.stderr.startswith("error: ")


def test_a_fault_keeps_no_password(tmp_path: Path) -> None:
    error = RuntimeError("no answer from https://me:SECRET@example.org/x")

    problem, _ = crash_report.explain(error, {"SDXL_TRAIN_CACHE": str(tmp_path)})

    assert "no answer from https://example.org/x" in problem.message
    assert "SECRET" not in (tmp_path / "last-fault.txt").read_text(encoding="utf-8")


def test_a_files_name_is_told_without_a_password(tmp_path: Path) -> None:
    error = OSError(errno.ENOENT, "No such file or directory", "https://me:SECRET@example.org/x")

    problem, _ = crash_report.explain(error, {"SDXL_TRAIN_CACHE": str(tmp_path)})

    assert problem.message == "https://example.org/x: No such file or directory"
    assert "SECRET" not in (tmp_path / "last-fault.txt").read_text(encoding="utf-8")
