"""A running trainer's GPU memory and RAM, sampled from outside at no cost to the trainer."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

import psutil

from sdxl_train_cli import gpu

_TREE_SECONDS = 2.0
"""How long a list of the tree's processes is reused: building it reads every process of the machine."""


@dataclass(frozen=True)
class ResourceSample:
    """One sample. None if unknown."""

    used_gib: float | None
    """GPU memory of the process tree, including CUDA's context."""
    gpu_used_gib: float | None
    """GPU memory used by all processes."""
    gpu_total_gib: float | None
    power_watts: float | None
    resident_gib: float
    """RAM of the process tree. Pages shared by its processes count once for each."""


class Sampler:
    """Sample `pid` and its descendants until closed. Never raises because of the GPU.

    Create it right after the start, before the trainer has reached the GPU: if the driver does not report memory by
    process (Windows), or uses other process IDs (containers), the tree's share is the increase since then.
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
        """Peak GPU memory of the tree. None if no sample has a value."""
        return self._added_peak_gib if self._driver_peak_gib is None else self._driver_peak_gib

    @property
    def is_exact(self) -> bool:
        """Whether the peak is the driver's value for these processes, rather than the increase in total use."""
        return self._driver_peak_gib is not None

    def sample(self) -> ResourceSample:
        """Take one sample."""
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
        """Close the driver."""
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
