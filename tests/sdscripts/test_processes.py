"""The layout of a training's processes, and how accelerate is told."""

from __future__ import annotations

import json

from sdxl_train_cli.sdscripts.processes import EMPTY_CONFIG, Processes


def test_one_gpu_is_named_and_made_the_only_visible_one() -> None:
    alone = Processes(gpus=(3,))

    assert (alone.here, alone.total) == (1, 1)
    assert alone.flags() == ["--gpu_ids=3"]
    assert alone.variables() == {"CUDA_VISIBLE_DEVICES": "3"}


def test_several_gpus_get_a_process_each() -> None:
    both = Processes(gpus=(1, 3), port=29500)

    assert both.total == 2
    assert both.flags() == ["--multi_gpu", "--machine_rank=0", "--main_process_port=29500", "--gpu_ids=1,3"]
    assert both.variables() == {"CUDA_VISIBLE_DEVICES": "1,3"}


def test_several_machines_have_as_many_processes_each() -> None:
    second = Processes(gpus=(0, 1), machines=2, rank=1, address="node1", port=29501)

    assert second.total == 4
    assert second.flags() == [
        "--multi_gpu", "--machine_rank=1", "--main_process_port=29501", "--main_process_ip=node1",
        "--rdzv_backend=static", "--same_network", "--gpu_ids=0,1",
    ]  # fmt: skip


def test_one_gpu_on_each_of_several_machines_is_one_of_several_processes() -> None:
    first = Processes(gpus=(0,), machines=2, address="node0", port=29501)

    assert first.total == 2
    assert "--multi_gpu" in first.flags()


def test_the_processor_takes_one_process_or_several() -> None:
    assert Processes().flags() == ["--cpu"]
    assert Processes().variables() == {"CUDA_VISIBLE_DEVICES": "-1"}
    several = Processes(on_processor=2, port=29500)
    assert several.flags() == ["--multi_gpu", "--machine_rank=0", "--main_process_port=29500", "--gpu_ids=all"]
    assert several.variables() == {"CUDA_VISIBLE_DEVICES": "-1", "ACCELERATE_USE_CPU": "true"}


def test_the_config_in_place_of_the_users_says_nothing_of_its_own() -> None:
    assert json.loads(EMPTY_CONFIG.read_text()) == {"compute_environment": "LOCAL_MACHINE", "distributed_type": "NO"}
