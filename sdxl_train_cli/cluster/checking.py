"""Check a cluster by a short job: whether a node sees the home, the environment and a GPU."""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from sdxl_train_cli import files, gpu, process
from sdxl_train_cli.cluster import script, slurm, submitting
from sdxl_train_cli.cluster.script import Submission
from sdxl_train_cli.cluster.settings import ClusterSettings
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import SdxlTrainError, SetupError, UsageError
from sdxl_train_cli.failures import diagnosis, log
from sdxl_train_cli.layout import Home

MINUTES = 5
"""Its limit. It takes less than one, but a first import of torch through a network takes minutes."""
_POLL_SECONDS = 1.0
_TAIL_BYTES = 65_536
_LATE_SECONDS = 60.0
"""How long a network drive may hide a file that a node has written."""
_IMPORTS = "import torch, accelerate, transformers; print(torch.cuda.device_count())"


@dataclass(frozen=True)
class NodeAnswer:
    """What a node found."""

    node: str
    python: str
    environment: str | None
    """What is installed. None if it is not complete."""
    problem: str | None
    gpus: tuple[tuple[str, float], ...]
    """Names and GB."""
    torch_gpus: int | None
    """GPUs that torch sees. None without torch."""
    capability: str | None = None
    """Compute capability of the GPU with the least memory."""

    @property
    def smallest(self) -> tuple[str, float] | None:
        """Name and GB of the GPU with the least memory. None without one."""
        return min(self.gpus, key=lambda one: one[1], default=None)


def answer(home: Home) -> NodeAnswer:
    """Look around, on the node."""
    found, problem, seen = None, None, None
    try:
        installed = environment.require(home)
        found = f"sd-scripts {installed.lock.ref}, Python {installed.lock.python}"
        if installed.trains:
            told = process.run([str(installed.python), "-c", _IMPORTS], env=dict(os.environ))
            seen = int(told.stdout) if told.stdout.strip().isdecimal() else None
            problem = None if told.code == 0 else (told.stderr.strip().splitlines() or ["torch can't be imported"])[-1]
    except SdxlTrainError as error:
        problem = str(error.problems[0])
    devices = gpu.devices()
    smallest = min(devices, key=lambda device: device.total_gib, default=None)
    capability = None if smallest is None else ".".join(map(str, smallest.capability))
    named = tuple((device.name, device.total_gib) for device in devices)
    return NodeAnswer(platform.node(), sys.executable, found, problem, named, seen, capability)


def write_answer(home: Home, folder: Path) -> None:
    """Write the answer where the login node waits for it."""
    files.write(folder / "answer.json", json.dumps(asdict(answer(home))))


def ask_node(home: Home, settings: ClusterSettings, wait_seconds: float, say: Callable[[str], None]) -> NodeAnswer:
    """Submit the job, wait for it, and return what the node found. SetupError or SlurmError says what is wrong."""
    folder = home.cluster / f".check-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True)
        start = [*submitting.own_argv("run"), "--home", str(home.path), "--check", str(folder)]
        job = Submission(name="sdxl-train-check", output=script.escaped(folder) / "output.log", start=start)
        files.write(folder / "script.sh", script.once(settings, job, MINUTES))
    except OSError as error:
        raise UsageError(f"{folder} can't be written: {error.strerror}", "give --home a folder of yours") from error
    number = slurm.submit(folder / "script.sh")
    say(f"job {number} is submitted; waiting for it")
    try:
        found = _wait(folder, number, wait_seconds, say)
    except BaseException:
        slurm.cancel(number)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return found


def _wait(folder: Path, job: str, seconds: float, say: Callable[[str], None]) -> NodeAnswer:
    end, ended, told = time.monotonic() + seconds, None, ""
    while True:
        if files.is_file(folder / "answer.json"):
            return _read(folder / "answer.json")
        known = slurm.jobs([job]).get(job)
        if known is not None and known.is_live:
            words = f"{known.state.lower()} {known.reason or known.node}".strip()
            if words != told:
                say(words)
                told = words
        else:
            ended = ended or time.monotonic()
            is_late = time.monotonic() > ended + (0 if files.is_file(folder / "output.log") else _LATE_SECONDS)
            if is_late:
                raise _no_answer(folder, job, known.state if known else "gone")
        if time.monotonic() > end:
            raise UsageError(
                f"job {job} has not ended in {seconds:.0f} s: {told or 'it waits'}",
                "it is cancelled; wait longer with --wait, or leave the check out with --no-check",
            )
        time.sleep(_POLL_SECONDS)


def _no_answer(folder: Path, job: str, state: str) -> SetupError:
    try:
        with (folder / "output.log").open("rb") as file:
            lines = log.read_tail(file, _TAIL_BYTES)
    except OSError:
        return SetupError(
            f"job {job} ended ({state}) and this computer sees no file of it: {folder.parent} is not shared",
            "--home takes a folder that login node and compute nodes share",
        )
    known = diagnosis.explain(lines)
    last = next((line for line in reversed(lines) if line.strip()), state)
    if known is None:
        return SetupError(f"job {job} ended without an answer: {last}", f"all it said: {folder / 'output.log'}")
    return SetupError(f"job {job} ended without an answer: {known.cause}", known.remedy)


def _read(path: Path) -> NodeAnswer:
    found = files.read_json(path)
    if not isinstance(found, dict):
        raise SetupError("the node's answer can't be read", "try again")
    return NodeAnswer(**{**found, "gpus": tuple((name, size) for name, size in found["gpus"])})
