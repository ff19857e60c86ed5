"""Why a job can't start on the GPUs that there are."""

from __future__ import annotations

import pytest
from test_placing import gpu, job

from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.jobs import obstacles
from sdxl_train_cli.jobs.job import Job

ONE: list[Gpu | None] = [gpu(0)]


@pytest.mark.parametrize(
    ("waiting", "devices", "given", "told"),
    [
        (job(1), ONE, None, None),
        (job(1, on=(0,)), ONE, None, None),
        (job(1, 99.0), ONE, None, None),
        (job(1, gpus=2), ONE, None, "needs 2 GPUs, and this computer has GPU 0"),
        (job(1, gpus=2), ONE, (0,), "needs 2 GPUs, and --gpu 0 keeps to GPU 0"),
        (job(1, on=(3,)), ONE, None, "is for GPU 3, and this computer has GPU 0"),
        (job(1, on=(0, 3)), [gpu(0), gpu(1)], None, "is for GPUs 0, 3, and this computer has GPUs 0, 1"),
        (job(1, gpus=2), [None], None, "needs 2 GPUs, and this computer has none"),
    ],
)
def test_it_says_what_a_job_needs_and_what_is_there(
    waiting: Job, devices: list[Gpu | None], given: tuple[int, ...] | None, told: str | None
) -> None:
    assert obstacles.of(waiting, devices, given=given) == told


def test_jobs_that_wait_for_the_same_share_a_line() -> None:
    jobs = [job(1), *(job(number, gpus=2) for number in range(2, 11)), job(20, on=(3,))]

    assert list(obstacles.lines(jobs, ONE, given=None)) == [
        "9 jobs can't start here, as each needs 2 GPUs, and this computer has GPU 0: 2, 3, 4, 5, 6, 7, 8, 9 and 1 more",
        "job 20 (run20) can't start here: it is for GPU 3, and this computer has GPU 0",
    ]
