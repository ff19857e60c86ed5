"""Task files are what their programs read: shell, a task of SkyPilot, a job of Kubernetes."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from sdxl_train_cli.cluster import task_files
from sdxl_train_cli.cluster.task_files import ExportedRun, TaskForm
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.run.run_choices import Choices

SETTINGS = {"learning_rate": 1e-4, "network_args": ("conv_dim=8",), "max_train_steps": 40, "optimizer_type": "AdamW"}


BASE = Choices(
    kind=Kind.LORA, preset="dim32-gc", name="Мой cat_1", model="/models/base 1.safetensors", data=Path("/my pictures"),
    output=Path("/out"), trigger="ohwx 'cat'", validation=0.0,
    overrides=tuple(Override(option, value, Origin("test")) for option, value in SETTINGS.items()),
)  # fmt: skip


def exported(need_gib: float | None = None, choices: Choices = BASE) -> ExportedRun:
    return ExportedRun(choices, need_gib)


def started_by(script: str, tmp_path: Path) -> list[str]:
    """The words that the shell gives to sdxl-train, and the preset's text last."""
    program = tmp_path / "bin" / "sdxl-train"
    program.parent.mkdir(exist_ok=True)
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n[ ! -f "$3" ] || cat "$3"\n', encoding="utf-8")
    program.chmod(0o755)
    done = subprocess.run(["bash", "-c", script], env={"PATH": f"{program.parent}:/usr/bin:/bin"}, capture_output=True,
                          encoding="utf-8", check=True)  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.parametrize("form", TaskForm)
def test_each_starts_the_same_run_with_its_settings(form: TaskForm, tmp_path: Path) -> None:
    text = task_files.write(exported(), form)
    read = text if form is TaskForm.SBATCH else yaml.safe_load(text)
    script = {
        TaskForm.SBATCH: lambda: read,
        TaskForm.SKYPILOT: lambda: read["run"],
        TaskForm.KUBERNETES: lambda: read["spec"]["template"]["spec"]["containers"][0]["command"][2],
    }[form]()

    words = started_by(script, tmp_path)

    assert words[:2] == ["lora", "--preset"]
    assert words[words.index("--trigger") + 1] == "ohwx 'cat'"
    assert words[words.index("--name") + 1] == "Мой cat_1"
    assert words[words.index("--model") + 1].endswith("/base 1.safetensors")
    assert "--no-validate" in words
    begin = next(number for number, word in enumerate(words) if word.startswith("learning_rate"))
    assert yaml.safe_load("\n".join(words[begin:])) == {**SETTINGS, "network_args": ["conv_dim=8"]}


def test_a_task_of_skypilot_has_the_fields_of_its_schema() -> None:
    task = yaml.safe_load(task_files.write(exported(), TaskForm.SKYPILOT))

    assert set(task) <= {"name", "workdir", "num_nodes", "resources", "envs", "file_mounts", "setup", "run"}
    assert set(task["resources"]) <= {"infra", "accelerators", "cpus", "memory", "use_spot", "disk_size"}
    assert all(count == 1 for count in task["resources"]["accelerators"].values())
    local = {there: here for there, here in task["file_mounts"].items() if isinstance(here, str)}
    assert local == {"/inputs/base 1.safetensors": "/models/base 1.safetensors", "/inputs/my pictures": "/my pictures"}
    assert task["file_mounts"]["/outputs"] == {"name": "cat-1-output", "mode": "MOUNT_CACHED"}


def test_a_run_that_took_much_memory_asks_for_a_large_card() -> None:
    task = yaml.safe_load(task_files.write(exported(need_gib=30.0), TaskForm.SKYPILOT))

    assert "L4" not in task["resources"]["accelerators"]


def test_a_job_of_kubernetes_has_what_its_api_requires() -> None:
    job = yaml.safe_load(task_files.write(exported(), TaskForm.KUBERNETES))

    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", job["metadata"]["name"])
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] in {"Never", "OnFailure"}
    (container,) = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 1}


def test_a_script_of_sbatch_is_a_shell_script_with_its_options_first() -> None:
    lines = task_files.write(exported(), TaskForm.SBATCH).splitlines()

    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    assert lines[0] == "#!/bin/bash"
    assert "#SBATCH --requeue" in lines[:first]
    assert not [line for line in lines[first:] if line.startswith("#SBATCH")]


@pytest.mark.parametrize("name", ["10_cat", "кот", "a" * 49 + "_cat", "--", "Мой cat_1"])
def test_a_task_has_a_name_that_all_of_them_take(name: str) -> None:
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", exported(choices=replace(BASE, name=name)).name)


def test_a_run_of_two_gpus_stays_one_and_its_steps_are_not_divided_again(tmp_path: Path) -> None:
    run = exported(choices=replace(BASE, processes=2))
    words = started_by(task_files.write(run, TaskForm.SBATCH), tmp_path)
    task = yaml.safe_load(task_files.write(run, TaskForm.SKYPILOT))
    job = yaml.safe_load(task_files.write(run, TaskForm.KUBERNETES))

    assert words[words.index("--gpus") + 1] == "2"
    assert words[words.index("--set") + 1] == "max_train_steps=40"
    assert not [word for word in words if word.startswith("max_train_steps:")]
    assert "#SBATCH --gres=gpu:2" in task_files.write(run, TaskForm.SBATCH)
    assert set(task["resources"]["accelerators"].values()) == {2}
    assert job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": 2}


@pytest.mark.parametrize("form", [TaskForm.SKYPILOT, TaskForm.KUBERNETES])
def test_inputs_of_one_name_stay_two(form: TaskForm) -> None:
    text = task_files.write(exported(choices=replace(BASE, data=Path("/a/cat"), regularisation=Path("/b/cat"))), form)

    folder = "/inputs" if form is TaskForm.SKYPILOT else "/work"
    assert f"--data {folder}/cat " in text
    assert f"--reg {folder}/2-cat " in text


def test_what_was_cut_off_is_resumed_from_its_state_and_without_one_begins_again(tmp_path: Path) -> None:
    folder = tmp_path / "it's out" / "cat"
    script = task_files.write(exported(choices=replace(BASE, name="cat", output=folder.parent)), TaskForm.SBATCH)
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}", encoding="utf-8")

    without_state = started_by(script, tmp_path)
    aside = [one.name for one in folder.parent.iterdir()]
    state = folder / "cat-step00000020-state"
    state.mkdir(parents=True)
    (state / "random_states_0.pkl").touch()

    assert without_state[0] == "lora"
    assert len(aside) == 1
    assert aside[0].startswith("cat.")
    assert started_by(script, tmp_path) == ["runs", "resume", str(folder), "--force"]
