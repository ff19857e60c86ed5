"""A failure is told the same however its log was copied: other folders, other systems, bars and other runs between."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from failure_logs import LOGS, log_of

from sdxl_train_cli.failures import diagnosis, known_failures, refused_options
from sdxl_train_cli.failures.refused_options import Fault
from sdxl_train_cli.failures.signature import Rank

ROWS = known_failures.load()
BAR = "steps:   1%|#   | 4/400 [00:01<00:08,  1.00s/it, avr_loss=0.1]"
FOLDER = "/data/lycoris dataset/resume/repeats/npz cache/toml/PIL/optim/bitsandbytes/wandb/"
HARMLESS = """\
A matching Triton is not available, some optimizations will not be enabled.
Error caught was: No module named 'triton'
WARNING  could not read the last prompt file: FileNotFoundError: [Errno 2] No such file or directory: 'p.txt'   x.py:12
/venv/lib/python3.11/site-packages/torch/cuda/memory.py:330: FutureWarning: torch.cuda.reset_max_memory_allocated
2026-01-02 10:00:00 WARNING  Retrying: ConnectionError in hub.py, attempt 1 of 3      file_download.py:99
"""
IN_BARS = {"nan-loss", "zero-loss"}
EARLIER = [row for row in ROWS if row.rank in {Rank.ROOT, Rank.CAUSE} and not row.sample_is_whole]


def in_other_folders(log: str) -> str:
    """With folders of a person's own, whose names are those of packages."""
    return log.replace("/home/me/sd-scripts/", FOLDER).replace("/venv/", f"{FOLDER}venv/")


def on_windows(log: str) -> str:
    """With paths as Windows writes them."""
    return re.sub(r'File "(/[^"]+)"', lambda frame: f'File "D:{frame[1]}"'.replace("/", "\\"), log)


def between_bars(log: str) -> str:
    """With a bar before every line."""
    return "\n".join(part for line in log.splitlines() for part in (BAR, line))


def after_warnings(log: str) -> str:
    """Behind warnings that look like errors."""
    return HARMLESS + log


def with_blank_lines(log: str) -> str:
    """As some web pages copy it."""
    return log.replace("\n", "\n\n")


def quoted(log: str) -> str:
    """As a forum quotes it."""
    return "".join(f"> {line}\n" for line in log.splitlines())


def stamped(log: str) -> str:
    """As a program logs it that starts the trainer."""
    return "\n".join(f"[2024-09-20 07:07:13] [INFO] {line.strip()}" for line in log.splitlines())


@pytest.mark.parametrize(
    "changed", [in_other_folders, on_windows, between_bars, after_warnings, with_blank_lines, quoted, stamped]
)
def test_a_sample_is_explained_by_its_row_however_it_was_copied(changed: Callable[[str], str]) -> None:
    told = {
        row.name: diagnosis.explain(changed(LOGS[row.name]).splitlines()) for row in ROWS if row.name not in IN_BARS
    }

    assert {name: found and found.name for name, found in told.items()} == {name: name for name in told}


def test_a_failure_of_an_earlier_run_in_the_same_log_is_not_told_again() -> None:
    told = {}
    for number, row in enumerate(ROWS):
        earlier = EARLIER[(number * 7 + 3) % len(EARLIER)]
        log = f"{log_of(earlier)}prepare tokenizer\nprepare accelerator\n{LOGS[row.name]}"
        told[row.name] = diagnosis.explain(log.splitlines())

    assert {name: found and found.name for name, found in told.items()} == {name: name for name in told}


def test_each_fault_of_a_refused_option_has_its_words() -> None:
    assert set(refused_options.words()) == {fault.value for fault in Fault} - {Fault.SPLIT_VALUE.value}
