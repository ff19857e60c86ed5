"""GPUs as the driver tells of them: none, several, one that is cut into parts, one that keeps things to itself."""

from __future__ import annotations

import fake_nvml
import pytest
from fake_nvml import Card

from sdxl_train_cli import gpu


def test_without_a_driver_there_is_no_gpu_and_nothing_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml.install(monkeypatch, without_driver=True)
    meter = gpu.Meter(0)

    assert gpu.devices() == ()
    assert meter.read() == gpu.Usage()
    meter.close()


def test_each_gpu_is_told_by_its_own_number(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml.install(monkeypatch, Card(), Card("NVIDIA GeForce RTX 3060", 8.0, 2.0))

    assert [(card.index, card.name, card.total_gib, card.free_gib) for card in gpu.devices()] == [
        (0, "NVIDIA GeForce RTX 4070", 12.0, 11.5),
        (1, "NVIDIA GeForce RTX 3060", 8.0, 6.0),
    ]


def test_a_gpu_that_won_t_be_opened_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, one such card made the list empty: "no NVIDIA GPU was found"."""
    fake_nvml.install(monkeypatch, None, Card())

    assert [card.index for card in gpu.devices()] == [1]


def test_of_a_gpu_in_parts_the_first_part_counts_for_cuda_takes_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Card("NVIDIA A100 MIG 1g.10gb", 9.5, 0.1, processes={7: 3.0})
    fake_nvml.install(monkeypatch, Card("NVIDIA A100", 80.0, None, parts=[part]))

    (device,) = gpu.devices()
    meter = gpu.Meter(0)

    assert (device.name, device.total_gib) == ("NVIDIA A100 MIG 1g.10gb", 9.5)
    assert meter.read().total_gib == 9.5
    assert meter.read().by_process == {7: 3.0}


@pytest.mark.parametrize("told", [None, 1.0])
def test_a_card_in_mig_mode_without_parts_is_no_gpu_to_train_on(
    monkeypatch: pytest.MonkeyPatch, told: float | None
) -> None:
    """Root is told the sum of the whole card, which CUDA can not use."""
    fake_nvml.install(monkeypatch, Card("NVIDIA A100", 80.0, told, parts=[]))

    assert gpu.devices() == ()
    assert gpu.Meter(0).read().used_gib is None


def test_what_the_driver_does_not_tell_is_none_and_the_rest_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml.install(monkeypatch, Card(power_milliwatts=None, processes={11: None}))

    assert gpu.Meter(0).read() == gpu.Usage(0.5, 12.0, None, {11: None})


def test_a_meter_lets_the_driver_go_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_nvml.install(monkeypatch, Card())
    meter = gpu.Meter(0)
    meter.close()
    meter.close()

    assert calls == ["init", "shutdown"]
    assert meter.read() == gpu.Usage()
