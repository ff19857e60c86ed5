"""Of several processes the one that failed first is explained."""

from __future__ import annotations

from sdxl_train_cli.failures import diagnosis, ranks
from sdxl_train_cli.failures.signature import Failure

_NAMED = """\
Root Cause (first observed failure):
[0]:
  time      : 2026-11-27_20:45:05
  host      : localhost
  rank      : {rank} (local_rank: {rank})
  exitcode  : 1 (pid: 2322)
"""


def report(rank: int) -> list[str]:
    return _NAMED.format(rank=rank).splitlines()


OWN = [
    "[rank1]: Traceback (most recent call last):",
    '[rank1]:   File "/sd-scripts/train_network.py", line 7, in train',
    "[rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
]
LOST = [
    "[rank0]: Traceback (most recent call last):",
    "[rank0]: RuntimeError: [gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:65187",
]


def test_a_process_that_only_lost_the_other_is_left_out() -> None:
    for lines in ([*OWN, *LOST, *report(1)], [*LOST, *OWN, *report(0)]):
        assert not any(line.startswith("[rank0]") for line in ranks.of_the_first(lines))
        assert set(OWN) < set(ranks.of_the_first(lines))
        found = diagnosis.explain(lines)
        assert found is not None
        assert found.kind is Failure.GPU_MEMORY


def test_of_two_with_faults_of_their_own_the_first_one_counts() -> None:
    both = [line.replace("rank1", "rank0").replace("2.00", "3.00") for line in OWN] + OWN

    assert ranks.of_the_first([*both, *report(1)])[: len(OWN)] == OWN


def test_the_log_of_one_process_stays_as_it_is() -> None:
    lines = ["steps: 3", "ValueError: no", "rank 1"]

    assert ranks.of_the_first(lines) == lines
    assert ranks.of_the_first(LOST) == LOST


def test_a_port_and_a_wait_are_explained() -> None:
    taken = ["ConnectionError: Tried to launch distributed communication on port `41237`, but another process is"]
    waited = ["[rank1]: RuntimeError: [gloo] Timed out waiting 1800000ms for recv operation to complete"]

    assert [found.name for found in map(diagnosis.explain, (taken, waited)) if found] == [
        "processes-port-taken", "process-waited-in-vain",
    ]  # fmt: skip
