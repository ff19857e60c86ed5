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
from sdxl_train_cli.run import several_gpus
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.sdscripts import checkpoint, states

_MOUNT = "/work"
"""Where a Kubernetes volume is mounted."""
_NAME = re.compile(r"[^a-z0-9]+")
_LONGEST_NAME = 50
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
        """As DNS, Slurm and SkyPilot take it: it begins with a letter."""
        plain = _NAME.sub("-", self.choices.name.lower()).strip("-") or "sdxl-train"
        return (plain if plain[0].isalpha() else f"run-{plain}")[:_LONGEST_NAME].strip("-")

    @property
    def gpus(self) -> int:
        """GPUs of one machine that make its steps: as many as trained together, on all nodes."""
        return self.choices.all_processes


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
    options = {"job-name": run.name, "output": f"{run.name}-%j.log", "open-mode": "append", "gres": f"gpu:{run.gpus}",
               "time": "08:00:00"}  # fmt: skip
    lines = [f"#SBATCH --{flag}={value}" for flag, value in options.items()]
    head = ["#!/bin/bash", *lines, "#SBATCH --requeue", "# submit it with: sbatch FILE"]
    return "\n".join([*head, "", *_commands(run, places)]) + "\n"


def _skypilot(run: ExportedRun) -> str:
    places, mounts = _placed(run.choices, "/inputs", "/outputs")
    cards = _SMALL_CARDS if (run.need_gib or 0.0) <= _SMALL_GIB else _LARGE_CARDS
    bucket = {"name": f"{run.name}-output", "mode": "MOUNT_CACHED"}  # MOUNT can't append to a log
    task = {
        "name": run.name,
        "resources": {"accelerators": dict.fromkeys(cards, run.gpus), "use_spot": True, "disk_size": 100},
        "workdir": ".",
        "file_mounts": {**mounts, places.output: bucket},
        "setup": _INSTALL + "\n",
        "run": "\n".join(_commands(run, places)) + "\n",
    }
    head = (
        "# A task of SkyPilot: sky jobs launch FILE, in a folder with a clone of sdxl-train.\n"
        "# The bucket of the output outlives a machine that is taken back: the next one resumes the run.\n"
        "# Change the bucket's name if somebody else in that cloud has it.\n"
    )
    return head + yaml_file.dumped(task)


def _kubernetes(run: ExportedRun) -> str:
    places, _ = _placed(run.choices, _MOUNT, f"{_MOUNT}/output")
    container = {
        "name": "train",
        "image": "sdxl-train",
        "command": ["bash", "-c", "\n".join(_commands(run, places)) + "\n"],
        "workingDir": _MOUNT,
        "resources": {"limits": {"nvidia.com/gpu": run.gpus}},
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


def _placed(chosen: Choices, folder: str, output: str) -> tuple[Places, dict[str, str]]:
    """Where local files are to be, each with a name of its own, and which ones they are."""
    mounts: dict[str, str] = {}

    def place(text: str) -> str:
        if checkpoint.is_hub_id(text):
            return text
        name, number = Path(text).name, 2
        while mounts.get(f"{folder}/{name}", text) != text:
            name, number = f"{number}-{Path(text).name}", number + 1
        mounts[f"{folder}/{name}"] = text
        return f"{folder}/{name}"

    data, model = place(str(chosen.data)), place(chosen.model)
    vae, regularisation = (None if one is None else place(str(one)) for one in (chosen.vae, chosen.regularisation))
    return Places(data, model, output, vae, regularisation), mounts


def _commands(run: ExportedRun, places: Places) -> Iterator[str]:
    """What the task does: it resumes the run from its state, else it starts it with the settings below.

    The steps of several GPUs are divided already. Typed ones are kept; those of a preset would be divided again.
    """
    chosen = run.choices
    folder = shlex.quote(f"{places.output}/{chosen.name}")
    typed = {one.option: one.value for one in chosen.overrides if one.value is not None}
    kept = {option: typed.pop(option) for option in several_gpus.IN_STEPS if run.gpus > 1 and option in typed}
    yield "set -e"
    yield f"if ls -d {folder}/*{states.SUFFIX}/{states.PARTS[-1]} > /dev/null 2>&1; then"
    yield f"    exec sdxl-train runs resume {folder} --force"
    yield f"elif [ -e {folder}/run.json ]; then  # cut off before it saved a state"
    yield f"    mv {folder} {folder}.$(date +%Y%m%d-%H%M%S)"
    yield "fi"
    yield "preset=$(mktemp --suffix .yaml)"
    yield "cat > \"$preset\" <<'END_OF_PRESET'"
    yield from (yaml_file.line(option, value) for option, value in typed.items())
    yield "END_OF_PRESET"
    words = ["exec", "sdxl-train", chosen.kind.value, "--preset"]
    steps = [word for option, value in kept.items() for word in ("--set", f"{option}={value}")]
    yield f'{shlex.join(words)} "$preset" {shlex.join([*_arguments(chosen, places), *_on(run.gpus), *steps])}'


def _on(gpus: int) -> Iterator[str]:
    if gpus > 1:
        yield from ("--gpus", str(gpus))


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
