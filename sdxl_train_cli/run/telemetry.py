"""What a running trainer holds of GPU and RAM, sampled from outside, so that the trainer pays nothing for it."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

import psutil

from sdxl_train_cli import gpu

_TREE_SECONDS = 2.0
"""How long a list of the tree's processes is good for: making it looks at every process of the machine."""


@dataclass(frozen=True)
class ResourceSample:
    """One moment; None is what can't be known here."""

    used_gib: float | None
    """GPU memory of the process tree, CUDA's context included."""
    gpu_used_gib: float | None
    """GPU memory that is taken, by whomever."""
    gpu_total_gib: float | None
    power_watts: float | None
    resident_gib: float
    """RAM of the process tree; pages that its processes share count in each."""


class Sampler:
    """Samples the processes that `pid` has started, and itself, until it is closed; never raises for a GPU.

    Make one right after the start, before the trainer has reached the GPU: where the driver does not tell who holds
    what (Windows), or tells of other numbers than ours (containers), the tree's share is what came on top since then.
    """

    def __init__(self, pid: int, gpu_index: int | None) -> None:
        self._pid = pid
        self._meter = None if gpu_index is None else gpu.Meter(gpu_index)
        self._tree: list[psutil.Process] = []
        self._listed_at: float | None = None
        self._before_gib = self._meter.read().used_gib if self._meter else None
        self._driver_peak_gib: float | None = None
        self._added_peak_gib: float | None = None
        self.peak_resident_gib = 0.0
        """The most RAM of all samples."""

    @property
    def peak_gib(self) -> float | None:
        """The most GPU memory that the tree held in any sample; None where no sample could tell."""
        return self._added_peak_gib if self._driver_peak_gib is None else self._driver_peak_gib

    @property
    def is_exact(self) -> bool:
        """Whether the peak is what the driver told of these very processes, and not all that came on top."""
        return self._driver_peak_gib is not None

    def sample(self) -> ResourceSample:
        """Look once."""
        resident_gib = self._resident_gib()
        self.peak_resident_gib = max(self.peak_resident_gib, resident_gib)
        if self._meter is None:
            return ResourceSample(None, None, None, None, resident_gib)
        usage = self._meter.read()
        by_driver = self._driver_gib(usage)
        added = self._added_gib(usage)
        self._driver_peak_gib = _larger(self._driver_peak_gib, by_driver)
        self._added_peak_gib = _larger(self._added_peak_gib, added)
        used = added if by_driver is None else by_driver
        return ResourceSample(used, usage.used_gib, usage.total_gib, usage.power_watts, resident_gib)

    def close(self) -> None:
        """Let the driver go."""
        if self._meter is not None:
            self._meter.close()

    def _resident_gib(self) -> float:
        now = time.monotonic()
        if self._listed_at is None or now - self._listed_at >= _TREE_SECONDS:
            self._tree, self._listed_at = _tree(self._pid), now
        total = 0
        for process in self._tree:
            with contextlib.suppress(psutil.Error):  # it has ended since
                total += process.memory_info().rss
        return total / gpu.GIB

    def _driver_gib(self, usage: gpu.Usage) -> float | None:
        pids = {process.pid for process in self._tree}
        held = [gib for pid, gib in usage.by_process.items() if pid in pids]
        known = [gib for gib in held if gib is not None]
        return sum(known) if known and len(known) == len(held) else None

    def _added_gib(self, usage: gpu.Usage) -> float | None:
        if usage.used_gib is None or self._before_gib is None:
            return None
        return max(0.0, usage.used_gib - self._before_gib)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.Error:
        return []


def _larger(one: float | None, other: float | None) -> float | None:
    return one if other is None else other if one is None else max(one, other)
