"""Plays the NVIDIA driver: a module in the place of pynvml that answers from a list of cards."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

import pytest

from sdxl_train_cli import gpu

GIB = 1024**3


class NVMLError(Exception):
    """The one error that all of NVML's own are kinds of."""


@dataclass
class Card:
    """One GPU; None is what this card's driver does not tell."""

    name: str = "NVIDIA GeForce RTX 4070"
    total_gib: float = 12.0
    used_gib: float | None = 0.5
    power_milliwatts: int | None = 45_000
    processes: dict[int, float | None] = field(default_factory=dict)
    parts: list[Card] | None = None
    """Of a card in MIG mode."""


def install(monkeypatch: pytest.MonkeyPatch, *cards: Card | None, without_driver: bool = False) -> list[str]:
    """Put the cards in; None is a card that the driver counts and won't open. Gives the calls of init and shutdown."""
    module, calls = ModuleType("pynvml"), list[str]()

    def told(value: object) -> object:
        if value is None:
            raise NVMLError("Not Supported")
        return value

    def init() -> None:
        if without_driver:
            raise NVMLError("NVML Shared Library Not Found")
        calls.append("init")

    def memory(card: Card) -> object:
        used = told(card.used_gib)
        assert isinstance(used, float)
        total = int(card.total_gib * GIB)
        return SimpleNamespace(total=total, used=int(used * GIB), free=total - int(used * GIB))

    def running(card: Card) -> list[object]:
        return [
            SimpleNamespace(pid=pid, usedGpuMemory=None if gib is None else int(gib * GIB))
            for pid, gib in card.processes.items()
        ]

    answers = {
        "NVMLError": NVMLError,
        "NVML_DEVICE_MIG_ENABLE": 1,
        "nvmlInit": init,
        "nvmlShutdown": lambda: calls.append("shutdown"),
        "nvmlSystemGetDriverVersion": lambda: "550.54.14",
        "nvmlDeviceGetCount": lambda: len(cards),
        "nvmlDeviceGetHandleByIndex": lambda index: told(cards[index] if index < len(cards) else None),
        "nvmlDeviceGetName": lambda card: card.name,
        "nvmlDeviceGetMemoryInfo": memory,
        "nvmlDeviceGetCudaComputeCapability": lambda _card: (8, 9),
        "nvmlDeviceGetPowerUsage": lambda card: told(card.power_milliwatts),
        "nvmlDeviceGetComputeRunningProcesses": running,
        "nvmlDeviceGetMigMode": lambda card: told(None if card.parts is None else (1, 1)),
        "nvmlDeviceGetMaxMigDeviceCount": lambda _card: 7,
        "nvmlDeviceGetMigDeviceHandleByIndex": lambda card, number: told(
            card.parts[number] if number < len(card.parts) else None
        ),
    }
    for name, answer in answers.items():
        setattr(module, name, answer)
    monkeypatch.setattr(gpu, "pynvml", module)
    return calls
