"""One training on several nodes: where the processes find each other, and what each node is told."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdxl_train_cli.environment.environment import INSIDE
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.records.record import Inputs
from sdxl_train_cli.run import nodes
from sdxl_train_cli.sdscripts.processes import Processes

JOB = {"SLURM_JOB_ID": "123456", "SLURM_JOB_NUM_NODES": "2", "SLURMD_NODENAME": "n1"}
SECOND = {"SLURM_NODEID": "1", "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.5"}


@pytest.fixture(scope="module")
def here() -> Callable[..., list[str]]:
    """What a node makes of the first one's command."""
    script: dict[str, Any] = runpy.run_path(str(INSIDE / "node.py"))
    found: Callable[..., list[str]] = script["here"]
    return found


def inputs(count: int) -> Inputs:
    return Inputs(preset="gc", model="base", data=Path("data"), output=Path("output"), nodes=count)


def test_a_training_on_one_node_is_left_as_it_is() -> None:
    alone = Processes(gpus=(1,))

    assert nodes.layout(alone, inputs(1), {}) == alone
    assert nodes.started(["python", "train.py"], 1, Path("run")) == ["python", "train.py"]


def test_all_nodes_find_the_first_on_a_port_of_the_job() -> None:
    found = nodes.layout(Processes(gpus=(0,)), inputs(2), JOB)

    assert (found.machines, found.total, found.address) == (2, 2, "n1")
    assert found.port == 20_000 + 123_456 % 20_000


def test_srun_starts_the_launcher_once_on_each_node() -> None:
    argv = nodes.started(["python", "-m", "accelerate"], 2, Path("/run"))

    assert argv[:2] == ["srun", "--nodes=2"]
    assert "--ntasks=2" in argv
    assert argv[-6:] == ["python", str(INSIDE / "node.py"), "/run", "python", "-m", "accelerate"]


def test_a_node_puts_in_its_number_its_gpus_and_the_first_nodes_address(here: Callable[..., list[str]]) -> None:
    first = ["python", *nodes.layout(Processes(gpus=(3,)), inputs(2), JOB).flags()]
    given = {**SECOND, "SLURM_STEP_GPUS": "0", "CUDA_VISIBLE_DEVICES": "0"}

    assert {"--machine_rank=1", "--main_process_ip=10.0.0.5", "--gpu_ids=0"} <= set(here(first, given))
    on_processor = ["python", *nodes.layout(Processes(), inputs(2), JOB).flags()]
    assert "--gpu_ids=all" in here(on_processor, {**SECOND, "CUDA_VISIBLE_DEVICES": "-1"})


def test_such_a_run_is_started_in_a_job_of_as_many_nodes_alone() -> None:
    with pytest.raises(UsageError) as raised:
        nodes.layout(Processes(), inputs(3), JOB)
    assert raised.value.problems[0].hint == "add --on slurm --nodes 3"
