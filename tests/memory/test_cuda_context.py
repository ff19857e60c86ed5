"""Which CUDA context counts: the one that setup measured, or that of the table."""

from __future__ import annotations

import pytest

from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.memory import cuda_context
from sdxl_train_cli.memory.measured_cells import load

H100 = "NVIDIA H100 80GB HBM3"


def card(name: str, capability: tuple[int, int]) -> Gpu:
    return Gpu(0, name, total_gib=24.0, free_gib=23.0, capability=capability, driver="580.159.04")


def with_lock(installed: Environment, torch: str = "2.6.0+cu124", **contexts: float) -> Environment:
    lock = installed.lock.model_copy(update={"contexts_gib": contexts, "packages": {"torch": torch}})
    return installed.model_copy(update={"lock": lock})


def test_what_setup_measured_counts_with_what_training_loads_later(installed: Environment) -> None:
    """On an H100: 0.68 GB after a convolution and attention, 0.75 in every training run."""
    found = cuda_context.of(card(H100, (9, 0)), with_lock(installed, **{H100: 0.68}))

    assert found.low_gib == 0.68
    assert found.likely_gib == pytest.approx(0.75)
    assert found.low_gib < {cell.context_gib for cell in load() if not cell.fast}.pop() < found.high_gib


def test_without_a_measurement_the_cards_capability_and_torchs_cuda_decide(installed: Environment) -> None:
    other = with_lock(installed, "2.11.0+cu130", **{"another GPU": 0.3})

    assert cuda_context.of(card(H100, (9, 0)), other).likely_gib == 0.75
    assert cuda_context.of(card("RTX 3090", (8, 6)), other).low_gib < 0.3
    old = cuda_context.of(card("RTX 3090", (8, 6)), with_lock(installed, "1.13.1+cu116"))
    assert old.high_gib == 1.7, "CUDA before 11.7 loads all kernels at once"


def test_an_unknown_gpu_has_the_widest_range_of_current_cuda_versions() -> None:
    unknown = cuda_context.expected()
    known = [cuda_context.expected(capability, "12.4") for capability in ((7, 5), (8, 6), (9, 0))]

    assert all(unknown.low_gib <= one.low_gib and one.high_gib <= unknown.high_gib for one in known)
    assert unknown.source


@pytest.mark.parametrize(("torch", "cuda"), [("2.6.0+cu124", "12.4"), ("2.11.0+cu130", "13.0"), ("2.6.0+cpu", None)])
def test_torchs_version_names_its_cuda(torch: str, cuda: str | None) -> None:
    assert cuda_context.cuda_of_torch(torch) == cuda
