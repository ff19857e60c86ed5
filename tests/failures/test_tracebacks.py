"""Errors are found in every shape that tracebacks have in logs, and their source code is not taken for words."""

from __future__ import annotations

import pytest

from sdxl_train_cli.failures import tracebacks

PLAIN = """\
Traceback (most recent call last):
  File "train.py", line 3, in <module>
    raise ImportError("No bitsandbytes")
    ~~~~~^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
ValueError: the real one
  with a second line
"""
BOXED = """\
╭──────────── Traceback (most recent call last) ────────────╮
│ train.py:3 in <module>                                    │
│ ❱ 3 │ raise ImportError("No bitsandbytes")                │
╰───────────────────────────────────────────────────────────╯
ValueError: the real one
  with a second line
"""
SHAPES = {
    "plain": PLAIN,
    "boxed": BOXED,
    "quoted": "".join(f"> {line}\n" for line in BOXED.splitlines()),
    "by rank": "".join(f"[rank0]: {line}\n" for line in PLAIN.splitlines()),
    "behind a bar": "steps:   0%|          | 0/9 [00:00<?, ?it/s]" + PLAIN,
    "in one line": " ".join(line.strip() for line in PLAIN.splitlines() if "~" not in line),
    "without indentation": "\n".join(line.strip() for line in PLAIN.splitlines()),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_error_is_found_without_its_source_code(shape: str) -> None:
    (error,) = tracebacks.parse(SHAPES[shape].splitlines()).errors

    assert " ".join(error.words).split() == ["ValueError:", "the", "real", "one", "with", "a", "second", "line"]
    assert "No bitsandbytes" in error.frames


def test_the_error_that_another_was_raised_from_is_known_as_such() -> None:
    text = PLAIN + "\nDuring handling of the above exception, another exception occurred:\n\n" + PLAIN

    assert [error.caused for error in tracebacks.parse(text.splitlines()).errors] == [True, False]


def test_a_loggers_wrapped_lines_lose_time_level_and_place() -> None:
    lines = [
        "2026-01-02 10:00:00 ERROR    model is not found as a file or in Hugging   sdxl_train_util.py:100",
        "                             Face, perhaps file name is wrong?",
    ]

    assert tracebacks.parse(lines).rest == (
        "model is not found as a file or in Hugging",
        "Face, perhaps file name is wrong?",
    )
