"""Which CUDA context counts: the one that setup measured, or that of the table."""

from __future__ import annotations

from pathlib import Path

import pytest
from measured_runs import CARD, recipe, record

from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import cuda_context, measurements
from sdxl_train_cli.memory.measured_cells import load
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.run import preparation

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


def test_a_run_that_goes_on_is_checked_with_what_was_measured_here(installed: Environment, tmp_path: Path) -> None:
    """First a run of one's own, then a measured one of another GPU with this one's context, then the estimate."""
    home, own = Home(tmp_path), with_lock(installed, **{CARD.name: 0.3})
    known, unknown = recipe(), recipe(network_dim=16)

    def told(asked: Recipe) -> str:
        return preparation.check_memory(asked, CARD, own, home, fast=False)

    assert "an estimate" in told(unknown)
    assert "needs 7.1 to 7.2 GB (measured on an NVIDIA H100" in told(known)
    measurements.add(home, record(width=1024, height=1024, peak_gib=6.5))
    assert "needs 6.5 GB (measured on this machine" in told(known)


def test_an_unknown_gpu_has_the_widest_range_of_current_cuda_versions() -> None:
    unknown = cuda_context.expected()
    known = [cuda_context.expected(capability, "12.4") for capability in ((7, 5), (8, 6), (9, 0))]

    assert all(unknown.low_gib <= one.low_gib and one.high_gib <= unknown.high_gib for one in known)
    assert unknown.source


@pytest.mark.parametrize(("torch", "cuda"), [("2.6.0+cu124", "12.4"), ("2.11.0+cu130", "13.0"), ("2.6.0+cpu", None)])
def test_torchs_version_names_its_cuda(torch: str, cuda: str | None) -> None:
    assert cuda_context.cuda_of_torch(torch) == cuda
