"""Where a training's processes run, and how accelerate is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

EMPTY_CONFIG = Path(__file__).with_name("accelerate.json")
"""Given to accelerate, which would merge `~/.cache/huggingface/accelerate/default_config.yaml` into its flags."""


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The layout of one training's processes. Every machine has as many."""

    gpus: tuple[int, ...] = ()
    """GPUs of this machine, one process on each, numbered as in nvidia-smi. Empty for the processor."""
    on_processor: int = 1
    """Processes on this machine where there is no GPU."""
    machines: int = 1
    rank: int = 0
    """This machine's number. The first, 0, writes the files."""
    address: str | None = None
    """Where the first machine is reached. None if it is the only one."""
    port: int | None = None
    """Port of the first machine on which the processes find each other. None for one process."""

    @property
    def here(self) -> int:
        """Processes of this machine."""
        return len(self.gpus) or self.on_processor

    @property
    def total(self) -> int:
        """Processes of all machines: each step trains that many batches."""
        return self.machines * self.here

    def flags(self) -> list[str]:
        """The flags of `accelerate launch` beside the counts."""
        found = []
        if self.total > 1:
            found += ["--multi_gpu", f"--machine_rank={self.rank}", f"--main_process_port={self.port}"]
        if self.machines > 1:
            found += [f"--main_process_ip={self.address}", "--rdzv_backend=static", "--same_network"]
        if self.gpus:
            return [*found, f"--gpu_ids={','.join(map(str, self.gpus))}"]
        return [*found, "--gpu_ids=all"] if self.total > 1 else ["--cpu"]

    def variables(self) -> Mapping[str, str]:
        """Environment variables that the processes need."""
        if self.gpus:
            # accelerate sets it to the same from --gpu_ids, but its launcher looks at the GPUs before.
            return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, self.gpus))}
        several = {"ACCELERATE_USE_CPU": "true"} if self.total > 1 else {}  # --cpu starts one process alone
        return {"CUDA_VISIBLE_DEVICES": "-1", **several}
