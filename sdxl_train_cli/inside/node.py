"""Become accelerate's launcher on one node of a training on several. Started by srun on each of them, once.

    python node.py FOLDER COMMAND...

The command is that of the first node. What differs here is put into it: this node's number, the first node's address
as Slurm knows it, and the GPUs that Slurm has given to this node. What another node than the first prints goes into
FOLDER/train.nodeN.log: the first one's output is what is watched.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LOG = "train.node{}.log"


def here(command: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """The command as this node needs it."""
    own = {"--machine_rank": environ["SLURM_NODEID"], "--main_process_ip": environ.get("SLURM_LAUNCH_NODE_IPADDR")}
    gpus = environ.get("SLURM_STEP_GPUS") and environ.get("CUDA_VISIBLE_DEVICES")
    own["--gpu_ids"] = None if "--gpu_ids=all" in command else gpus
    found = []
    for word in command:
        flag = word.partition("=")[0]
        found.append(f"{flag}={own[flag]}" if own.get(flag) else word)
    return found


def main(argv: list[str]) -> int:
    """Become the command. Returns only where there is none."""
    if len(argv) < 2 or argv[0] in {"-h", "--help"}:  # noqa: PLR2004
        print("usage: node.py FOLDER COMMAND...", file=sys.stderr)
        return 0 if argv[:1] in (["-h"], ["--help"]) else 2
    command, number = here(argv[1:], os.environ), int(os.environ["SLURM_NODEID"])
    if number:
        log = os.open(Path(argv[0]) / LOG.format(number), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        for stream in (1, 2):
            os.dup2(log, stream)
    return os.execv(command[0], command)  # noqa: S606 - srun waits for this very process


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
