"""How a cluster wants its jobs: asked once by `sdxl-train cluster init`, kept in `cluster.yaml` beside the config."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from sdxl_train_cli import files, gpu, layout
from sdxl_train_cli.errors import Problem, RecipeError, UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.recipes import yaml_file

FILE = "cluster.yaml"
_LISTS = ("modules", "lines")
_TIME = re.compile(r"\d+|\d+:\d\d(:\d\d)?|\d+-\d+(:\d\d){0,2}")
_GRES = re.compile(r"\d+|(?P<gres>gpu(:[A-Za-z][\w.-]*)?)(:\d+)?", re.ASCII)
"""A number of GPUs, or one gres with or without it."""
_WORD = re.compile(r"[\w.,:@+/=\[\]-]+", re.ASCII)
DEFAULT_TIME = "08:00:00"
"""A night: long enough for most runs, short enough for most partitions. What is longer is resumed."""
DEFAULT_GPUS = "1"


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """How jobs are submitted."""

    home: str
    """Home folder of sdxl-train that login node and compute nodes share."""
    partition: str | None = None
    account: str | None = None
    gpus: str = DEFAULT_GPUS
    """GPUs per node, or a gres such as gpu:a100:1; 0 for none."""
    time: str = DEFAULT_TIME
    """Limit of a job, as sbatch takes it."""
    modules: tuple[str, ...] = ()
    """Loaded before a run."""
    container: str | None = None
    """Command line that starts another inside a container, such as `apptainer exec --nv train.sif`."""
    lines: tuple[str, ...] = ()
    """Further options of sbatch, such as --qos=long."""
    gpu_memory: str | None = None
    """GB of a node's GPU, as the check found it. Runs are checked against it before they are submitted."""
    gpu: str | None = None
    """Its name."""
    gpu_capability: str | None = None
    """Its compute capability, which tells what precision it computes: 8.0."""

    @property
    def node_gpu(self) -> Gpu | None:
        """A node's GPU, on which nothing else runs. None if it is not known."""
        if self.gpu_memory is None:
            return None
        found = gpu.hypothetical(float(self.gpu_memory), gpu.usual_headroom_gib())
        capability = found.capability
        if self.gpu_capability is not None:
            major, minor = self.gpu_capability.split(".")
            capability = int(major), int(minor)
        return replace(found, name=self.gpu or found.name, capability=capability)

    @property
    def gres(self) -> str | None:
        """As `--gres` takes it."""
        if self.gpus == "0":
            return None
        return f"gpu:{self.gpus}" if self.gpus.isdecimal() else self.gpus

    def with_gpus(self, count: int) -> ClusterSettings:
        """The settings with as many GPUs of a node as a run trains on.

        What can't be changed is kept for one GPU, and UsageError for several.
        """
        found = _GRES.fullmatch(self.gpus)
        if count == 1 and (self.gpus == "0" or found is None):
            return self
        if self.gpus == "0" or found is None:
            words = f"--gpus {count}, but {FILE} asks for gpus: {self.gpus}, which can't be made {count}"
            raise UsageError(words, f"sdxl-train cluster init --gpus {count}")
        return replace(self, gpus=str(count) if found["gres"] is None else f"{found['gres']}:{count}")

    @property
    def has_gpu(self) -> bool:
        """Whether a job asks for one."""
        return self.gres is not None or any("gpu" in line for line in self.lines)


def path(environ: Mapping[str, str]) -> Path:
    """The file."""
    return layout.config_folder(environ) / FILE


def load(environ: Mapping[str, str]) -> ClusterSettings:
    """Read the file. UsageError if there is none, RecipeError if it is invalid."""
    file = path(environ)
    if not files.is_file(file):
        raise UsageError("no cluster is set up", "sdxl-train cluster init")
    document = yaml_file.load(file)
    names = tuple(field.name for field in fields(ClusterSettings) if field.name not in _LISTS)
    texts = yaml_file.texts(document, names, others=dict.fromkeys(_LISTS, _list_problem))
    lists = {entry.key: tuple(map(str, _tuple(entry.value))) for entry in document.entries if entry.key in _LISTS}
    if "home" not in texts:
        raise RecipeError(Problem("home is missing", "sdxl-train cluster init", str(file)))
    return require(ClusterSettings(**texts, **lists))  # type: ignore[arg-type]


def write(settings: ClusterSettings, environ: Mapping[str, str]) -> Path:
    """Write the file. UsageError if that can't be done."""
    file = path(environ)
    written = ["# How `--on slurm` submits jobs. Written by `sdxl-train cluster init`; edit it as you like."]
    for field in fields(ClusterSettings):
        value = getattr(settings, field.name)
        if isinstance(value, tuple) and value:
            written.append(yaml_file.line(field.name, value))
        elif isinstance(value, str):
            written.append(f"{field.name}: {yaml_file.quoted(value)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write(file, "\n".join(written) + "\n")
    except OSError as error:
        raise UsageError(f"{file} can't be written: {error.strerror}", "check its permissions") from error
    return file


def require(settings: ClusterSettings) -> ClusterSettings:
    """The settings, if each can stand in a line of sbatch. UsageError lists what can't."""
    problems = []
    if not _TIME.fullmatch(settings.time):
        problems.append(Problem(f"--time {settings.time} is no time limit of Slurm", f"--time {DEFAULT_TIME}"))
    words = {"--partition": settings.partition, "--account": settings.account, "--gpus": settings.gpus}
    problems += [
        Problem(f"{flag} {text} is no word of Slurm", f"leave out {flag}, or ask the cluster's guide")
        for flag, text in words.items()
        if text is not None and not _WORD.fullmatch(text)
    ]
    for line in settings.lines:
        if not line.startswith("-") or not line.isprintable():
            problems.append(Problem(f"--line {line} is no option of sbatch", "--line=--qos=long"))
    try:
        shlex.split(settings.container or "")
    except ValueError:
        problems.append(Problem(f"--container {settings.container} is no command line", "close its quotes"))
    memory = settings.gpu_memory
    if memory is not None and not re.fullmatch(r"\d{1,4}(\.\d+)?", memory):
        problems.append(Problem(f"gpu_memory: {memory} is no number", 'gpu_memory: "24"'))
    if settings.gpu_capability is not None and not re.fullmatch(r"\d{1,2}\.\d", settings.gpu_capability):
        problems.append(Problem(f"gpu_capability: {settings.gpu_capability} is none", 'gpu_capability: "8.0"'))
    if problems:
        raise UsageError(problems)
    return settings


def _tuple(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


def _list_problem(entry: yaml_file.YamlEntry) -> yaml_file.WrongValue | None:
    is_fine = all(isinstance(part, str) for part in _tuple(entry.value))
    return None if is_fine else (f"{entry.key} takes a list of texts", f'{entry.key}: ["..."]')
