"""The script that sbatch is given. Pure: text from settings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.cluster.settings import ClusterSettings

GRACE_SECONDS = 300
"""How long before its time ends a job is told so: the step ends, and its state is saved on a slow disk."""
_JOB_NAME = re.compile(r"[^\w.+-]+", re.ASCII)

_BODY = """\

# Ends the step, saves a state and ends: on USR1, as the time is nearly up, to be resumed by the same job; on TERM, as
# Slurm takes the node back and starts the job again, or the user has cancelled it.
task="${{SLURM_ARRAY_TASK_ID:-0}}"
again=
{start} {task} &
pid=$!
trap 'again=yes; kill -TERM "$pid"' USR1
trap 'kill -TERM "$pid"' TERM
while :; do
    wait "$pid"
    code=$?
    kill -0 "$pid" 2>/dev/null || break
done
trap : TERM USR1
if [ -n "$again" ] && [ "$code" -eq {stopped} ]; then
    scontrol requeue "$SLURM_JOB_ID" && sleep 60
fi
exit "$code"
"""
STOPPED = 128 + 15


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One job, or an array of equal ones."""

    name: str
    output: Path
    """Its output, as `escaped` gives it; %a stands for an element's number."""
    start: Sequence[str]
    """The command line of a task, which gets its number behind it."""
    count: int | None = None
    """Elements of the array. None for a single job."""
    at_once: int | None = None
    """How many of them may run at a time."""
    nodes: int = 1


def text(settings: ClusterSettings, job: Submission) -> str:
    """The script of trainings that can be resumed."""
    start = shlex.join([*shlex.split(settings.container or ""), *job.start])
    body = _BODY.format(start=start, task='"$task"', stopped=STOPPED)
    return "\n".join(["#!/bin/bash", *_options(settings, job), *_resumed(), *_modules(settings)]) + "\n" + body


def once(settings: ClusterSettings, job: Submission, minutes: int) -> str:
    """The script of a short job that is not resumed."""
    start = shlex.join([*shlex.split(settings.container or ""), *job.start])
    options = [line for line in _options(settings, job) if not line.startswith("#SBATCH --time=")]
    options.append(f"#SBATCH --time={minutes}")
    return "\n".join(["#!/bin/bash", *options, *_modules(settings), "", start]) + "\n"


def _options(settings: ClusterSettings, job: Submission) -> list[str]:
    limit = "" if job.at_once is None else f"%{job.at_once}"
    found = {
        "--job-name": _JOB_NAME.sub("-", job.name).strip("-") or "sdxl-train",
        "--output": _quoted(str(job.output)),
        "--open-mode": "append",
        "--array": None if job.count is None else f"0-{job.count - 1}{limit}",
        "--partition": settings.partition,
        "--account": settings.account,
        "--nodes": None if job.nodes == 1 else str(job.nodes),
        "--ntasks-per-node": None if job.nodes == 1 else "1",
        "--gres": settings.gres,
        "--time": settings.time,
    }
    given = [f"#SBATCH {flag}={value}" for flag, value in found.items() if value is not None]
    return [*given, *(f"#SBATCH {line}" for line in settings.lines)]


def _resumed() -> list[str]:
    return ["#SBATCH --requeue", f"#SBATCH --signal=B:USR1@{GRACE_SECONDS}"]


def _modules(settings: ClusterSettings) -> list[str]:
    return ["", f"module load {shlex.join(settings.modules)}"] if settings.modules else []


def escaped(path: Path) -> Path:
    """As sbatch reads the name of an output file, in which its own words begin with %."""
    return Path(str(path).replace("%", "%%"))


def _quoted(text: str) -> str:
    """A value in a line of sbatch."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if re.search(r"[\s\"'\\#]", text) else text
