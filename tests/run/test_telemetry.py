"""A process tree's memory from outside: RAM of real children, GPU memory as a driver tells it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import fake_nvml
import pytest
from fake_nvml import Card

from sdxl_train_cli.run import telemetry
from sdxl_train_cli.run.telemetry import Sampler

MIB = 1024**2
HOLDS = "import sys, time; held = bytearray({size}); print('there', flush=True); sys.stdin.read()"
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    """A process whose child holds 64 MiB."""
    code = PARENT.format(child=HOLDS.format(size=64 * MIB))
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"there"
        yield process
        assert process.stdin is not None
        process.stdin.close()


def test_the_ram_of_children_counts_too(family: subprocess.Popen[bytes]) -> None:
    sampler = Sampler(family.pid, None)
    sample = sampler.sample()

    assert 64 / 1024 < sample.resident_gib < 1
    assert sampler.peak_resident_gib == sample.resident_gib
    assert (sample.used_gib, sample.gpu_used_gib, sampler.peak_gib) == (None, None, None)


def test_a_process_that_is_gone_holds_nothing_and_the_peak_stays(
    family: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = Sampler(family.pid, None)
    before = sampler.sample().resident_gib
    assert family.stdin is not None
    family.stdin.close()
    family.wait()
    still_listed = sampler.sample().resident_gib
    monkeypatch.setattr(telemetry, "_TREE_SECONDS", 0.0)

    assert still_listed == sampler.sample().resident_gib == 0.0
    assert sampler.peak_resident_gib == before


def test_only_the_trees_own_share_of_the_gpu_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(used_gib=2.0, processes={1: 2.0})
    fake_nvml.install(monkeypatch, card)
    sampler = Sampler(os.getpid(), 0)
    card.processes[os.getpid()], card.used_gib = 6.5, 8.5
    high = sampler.sample()
    card.processes[os.getpid()], card.used_gib = 1.0, 11.0
    low = sampler.sample()

    assert (high.used_gib, high.gpu_used_gib, high.gpu_total_gib, high.power_watts) == (6.5, 8.5, 12.0, 45.0)
    assert low.used_gib == 1.0
    assert sampler.peak_gib == 6.5
    assert sampler.is_exact


def test_where_the_driver_keeps_it_to_itself_the_peak_is_what_came_on_top(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows' display driver answers N/A for each process."""
    card = Card(used_gib=1.5, processes={os.getpid(): None})
    fake_nvml.install(monkeypatch, card)
    sampler = Sampler(os.getpid(), 0)
    card.used_gib = 9.0

    assert sampler.sample().used_gib == 7.5
    card.used_gib = 1.0
    assert sampler.sample().used_gib == 0.0
    assert (sampler.peak_gib, sampler.is_exact) == (7.5, False)


def test_where_the_driver_counts_processes_otherwise_the_peak_is_what_came_on_top(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a container the driver tells the host's process numbers."""
    card = Card(used_gib=0.0)
    fake_nvml.install(monkeypatch, card)
    sampler = Sampler(os.getpid(), 0)
    card.processes[2**30], card.used_gib = 5.0, 5.0

    assert sampler.sample().used_gib == 5.0
    assert not sampler.is_exact


def test_what_others_took_before_our_share_was_told_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(used_gib=0.0)
    fake_nvml.install(monkeypatch, card)
    sampler = Sampler(os.getpid(), 0)
    card.used_gib = 4.0  # a game that starts while the trainer still imports
    sampler.sample()
    card.processes[os.getpid()], card.used_gib = 3.0, 7.0
    sampler.sample()

    assert sampler.peak_gib == 3.0


@pytest.mark.parametrize("cards", [(), (Card(used_gib=None),)])
def test_without_an_answer_of_the_driver_only_ram_is_known(monkeypatch: pytest.MonkeyPatch, cards: tuple[Card]) -> None:
    calls = fake_nvml.install(monkeypatch, *cards, without_driver=not cards)
    sampler = Sampler(os.getpid(), 0)
    sample = sampler.sample()
    sampler.close()

    assert sample.resident_gib > 0
    assert (sample.used_gib, sample.gpu_total_gib, sampler.peak_gib) == (None, None, None)
    assert calls == (["init", "shutdown"] if cards else [])
