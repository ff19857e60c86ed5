"""Any file that a terminal's output was put into is read as lines."""

from __future__ import annotations

import io

import pytest

from sdxl_train_cli.failures import log

TEXT = "первая строка\r\nидёт\r\n学習開始\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_encoding_that_shells_write_is_read(encoding: str) -> None:
    text = TEXT if "sig" in encoding or encoding in {"utf-8", "utf-16"} else "line of a log\r\n" * 5

    assert log.decode(text.encode(encoding)) == text.replace("\r\n", "\n").split("\n")


def test_a_bars_states_are_lines_of_their_own_and_colours_are_gone() -> None:
    assert log.lines("\x1b[31mred\x1b[0m\rsteps: 1\rsteps: 2\nend  ") == ["red", "steps: 1", "steps: 2", "end"]


def test_nothing_that_a_terminal_would_obey_is_left() -> None:
    odd = "".join(map(chr, [*range(9), 11, 12, *range(14, 32), *range(127, 160)]))

    assert log.lines(f"\x1b]0;title\x07a\t{odd}b\x1b[2J") == ["a\tb"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_of_a_large_log_only_the_tail_is_read(encoding: str) -> None:
    content = ("a bar\r" * 3_000_000 + "\nRuntimeError: ошибка").encode(encoding)

    lines = log.read_tail(io.BytesIO(content), len(content))

    assert lines[-1] == "RuntimeError: ошибка"
    assert sum(map(len, lines)) <= log.TAIL_BYTES


def test_bytes_that_are_no_text_do_not_end_it() -> None:
    assert log.decode(b"\xff\x80 ok\nRuntimeError: x")[-1] == "RuntimeError: x"
