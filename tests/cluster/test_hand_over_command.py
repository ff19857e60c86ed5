"""What `queue start --on slurm` says where it hands nothing over."""

from __future__ import annotations

from pathlib import Path

from sdxl_train_cli.commands.queue import handing_over
from sdxl_train_cli.jobs.job import Waiting
from sdxl_train_cli.jobs.store import Queue


def test_an_empty_queue_has_no_job_and_one_that_keeps_some_has_no_other(tmp_path: Path) -> None:
    empty, some = Queue(tmp_path / "empty"), Queue(tmp_path / "some")
    some.add(Waiting("cat", "lora", "gc", "{}"))

    assert handing_over._where_else(empty) == f"no job waits in {empty.folder}"  # noqa: SLF001 - what a person reads
    assert handing_over._where_else(some) == f"no other job waits in {some.folder}"  # noqa: SLF001 - as above
