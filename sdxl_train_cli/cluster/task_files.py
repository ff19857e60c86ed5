"""A run as a task file for others to start: sbatch, SkyPilot or Kubernetes. Pure: text from a run's choices.

Each holds the settings themselves, starts the run where there is none, and resumes it where it was cut off.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sdxl_train_cli.recipes import yaml_file
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.sdscripts import checkpoint

_MOUNT = "/work"
"""Where a Kubernetes volume is mounted."""
_NAME = re.compile(r"[^a-z0-9]+")
_SMALL_CARDS, _LARGE_CARDS = ("L4", "RTX4090", "A10G"), ("A100-80GB", "H100")
"""Names of SkyPilot: 24 GB, and 80 GB."""
_SMALL_GIB = 22.0
_INSTALL = (
    "command -v sdxl-train || pip install ./sdxl-train  # the clone below, or another place that has it\n"
    "sdxl-train setup"
)


class TaskForm(str, Enum):
    """Values of `--to`."""

    SBATCH = "sbatch"
    SKYPILOT = "skypilot"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True)
class ExportedRun:
    """A run, as a task file needs it."""

    choices: Choices
    need_gib: float | None
    """GPU memory that it took. None if that is not known."""

    @property
    def name(self) -> str:
        """As DNS and Slurm take it."""
        return _NAME.sub("-", self.choices.name.lower()).strip("-")[:50] or "sdxl-train"


@dataclass(frozen=True)
class Places:
    """Where the task finds what it needs."""

    data: str
    model: str
    output: str
    vae: str | None = None
    regularisation: str | None = None


def write(run: ExportedRun, form: TaskForm) -> str:
    """The file's text."""
    return {TaskForm.SBATCH: _sbatch, TaskForm.SKYPILOT: _skypilot, TaskForm.KUBERNETES: _kubernetes}[form](run)


def _sbatch(run: ExportedRun) -> str:
    chosen = run.choices
    kept = str(chosen.regularisation) if chosen.regularisation else None
    places = Places(str(chosen.data), chosen.model, str(chosen.output), chosen.vae, kept)
    options = {"job-name": run.name, "output": f"{run.name}-%j.log", "open-mode": "append", "gres": "gpu:1",
               "time": "08:00:00"}  # fmt: skip
    lines = [f"#SBATCH --{flag}={value}" for flag, value in options.items()]
    head = ["#!/bin/bash", *lines, "#SBATCH --requeue", "# submit it with: sbatch FILE"]
    return "\n".join([*head, "", *_commands(run, places)]) + "\n"


def _skypilot(run: ExportedRun) -> str:
    chosen = run.choices
    places, mounts = _mounted(chosen)
    cards = _SMALL_CARDS if (run.need_gib or 0.0) <= _SMALL_GIB else _LARGE_CARDS
    bucket = {"name": f"{run.name}-output", "mode": "MOUNT"}
    task = {
        "name": run.name,
        "resources": {"accelerators": dict.fromkeys(cards, 1), "use_spot": True, "disk_size": 100},
        "workdir": ".",
        "file_mounts": {**mounts, places.output: bucket},
        "setup": _INSTALL + "\n",
        "run": "\n".join(_commands(run, places)) + "\n",
    }
    head = (
        "# A task of SkyPilot: sky jobs launch FILE, in a folder with a clone of sdxl-train.\n"
        "# The bucket of the output outlives a machine that is taken back: the next one resumes the run.\n"
    )
    return head + yaml_file.dumped(task)


def _kubernetes(run: ExportedRun) -> str:
    chosen = run.choices
    reg = chosen.regularisation
    places = Places(
        f"{_MOUNT}/{chosen.data.name}",
        chosen.model if checkpoint.is_hub_id(chosen.model) else f"{_MOUNT}/{Path(chosen.model).name}",
        f"{_MOUNT}/output",
        chosen.vae if chosen.vae is None or checkpoint.is_hub_id(chosen.vae) else f"{_MOUNT}/{Path(chosen.vae).name}",
        None if reg is None else f"{_MOUNT}/{reg.name}",
    )
    container = {
        "name": "train",
        "image": "sdxl-train",
        "command": ["bash", "-c", "\n".join(_commands(run, places)) + "\n"],
        "workingDir": _MOUNT,
        "resources": {"limits": {"nvidia.com/gpu": 1}},
        "volumeMounts": [{"name": "work", "mountPath": _MOUNT}, {"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108 - workers share pictures there
    }
    volumes = [
        {"name": "work", "persistentVolumeClaim": {"claimName": "sdxl-train"}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}},
    ]
    template = {"spec": {"restartPolicy": "Never", "containers": [container], "volumes": volumes}}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": run.name},
        "spec": {"backoffLimit": 5, "template": template},
    }
    head = (
        "# A job of Kubernetes: kubectl apply -f FILE. The image: this project's Dockerfile; the claim sdxl-train: a\n"
        f"# volume that holds pictures and model below {_MOUNT}. What an evicted pod began, the next one resumes.\n"
    )
    return head + yaml_file.dumped(job)


def _mounted(chosen: Choices) -> tuple[Places, dict[str, object]]:
    """Local files as SkyPilot copies them, and where they are then."""
    mounts: dict[str, object] = {}

    def place(text: str | Path | None) -> str | None:
        if text is None or checkpoint.is_hub_id(str(text)):
            return None if text is None else str(text)
        there = f"/inputs/{Path(text).name}"
        mounts[there] = str(text)
        return there

    model, data = place(chosen.model) or chosen.model, place(chosen.data) or str(chosen.data)
    return Places(data, model, "/outputs", place(chosen.vae), place(chosen.regularisation)), mounts


def _commands(run: ExportedRun, places: Places) -> Iterator[str]:
    """What the task does: it resumes the run if it is there, else it starts it with the settings below."""
    chosen = run.choices
    folder = f"{places.output}/{chosen.name}"
    yield "set -e"
    yield f"if [ -f {shlex.quote(f'{folder}/run.json')} ]; then"
    yield f"    exec {shlex.join(['sdxl-train', 'runs', 'resume', folder, '--force'])}"
    yield "fi"
    yield "preset=$(mktemp --suffix .yaml)"
    yield "cat > \"$preset\" <<'END_OF_PRESET'"
    yield from (yaml_file.line(each.option, each.value) for each in chosen.overrides if each.value is not None)
    yield "END_OF_PRESET"
    words = ["exec", "sdxl-train", chosen.kind.value, "--preset"]
    yield f'{shlex.join(words)} "$preset" {shlex.join(_arguments(chosen, places))}'


def _arguments(chosen: Choices, places: Places) -> Iterator[str]:
    given = {
        "--model": places.model,
        "--data": places.data,
        "--output": places.output,
        "--name": chosen.name,
        "--vae": places.vae,
        "--reg": places.regularisation,
        "--trigger": chosen.trigger,
        "--repeats": None if chosen.repeats is None else str(chosen.repeats),
        "--prediction": None if chosen.prediction is None else chosen.prediction.value,
    }
    for flag, text in given.items():
        if text is not None:
            yield from (flag, text)
    for prompt in chosen.samples or ():
        yield from ("--sample", prompt)
    if chosen.samples == ():
        yield "--no-samples"
    if chosen.validation is not None:
        yield "--validate" if chosen.validation else "--no-validate"
    for flag, is_on in {"--fast": chosen.fast, "--keep-best": chosen.keep_best}.items():
        if is_on:
            yield flag
