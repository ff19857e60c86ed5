"""Which row of the table, which build of torch: pure, from texts and GPUs."""

from __future__ import annotations

import re

import pytest

from sdxl_train_cli.environment import toolchain
from sdxl_train_cli.environment.toolchain import Extra, TorchBuild
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.gpu import Gpu

MODERN, CLASSIC = toolchain.load()
V10 = "accelerate==1.6.0\ntransformers==4.54.1\n# a comment\nopencv-python==4.8.1.78 # for masks\n-e .\n"
V08 = "accelerate==0.25.0\ntransformers==4.36.2\n-e .\n"


def card(*capability: int) -> Gpu:
    return Gpu(0, "a card", 24.0, 20.0, (capability[0], capability[1]), "550.54.14")


@pytest.mark.parametrize(("requirements", "row"), [(V10, MODERN), (V08, CLASSIC)])
def test_the_row_is_chosen_by_the_pin_of_transformers(requirements: str, row: toolchain.Toolchain) -> None:
    assert toolchain.choose(requirements, brings_accelerate=False) is row


def test_a_checkout_with_an_accelerate_of_its_own_needs_nothing() -> None:
    assert toolchain.choose("# stand-in: needs nothing\n", brings_accelerate=True) is None
    assert toolchain.plan(None, "", TorchBuild.AUTO, [], [card(8, 6)]).requirements == ()


def test_a_checkout_that_pins_no_transformers_is_refused() -> None:
    with pytest.raises(SetupError, match="pins no transformers"):
        toolchain.choose("torch\n", brings_accelerate=False)


def test_every_pin_belongs_to_one_row() -> None:
    for minor in range(60):
        assert toolchain.choose(f"transformers=={4 if minor else 5}.{minor}.0", brings_accelerate=False) is not None


@pytest.mark.parametrize(
    ("asked", "gpus", "build", "backend"),
    [
        (TorchBuild.AUTO, [], TorchBuild.CPU, "cpu"),
        (TorchBuild.AUTO, [card(7, 5)], TorchBuild.CU124, "cu124"),
        (TorchBuild.AUTO, [card(8, 9)], TorchBuild.CU124, "cu124"),
        (TorchBuild.AUTO, [card(12, 0)], TorchBuild.CU128, "cu128"),
        (TorchBuild.AUTO, [card(8, 6), card(12, 0)], TorchBuild.CU128, "cu128"),
        (TorchBuild.CPU, [card(8, 6)], TorchBuild.CPU, "cpu"),
        (TorchBuild.CU124, [], TorchBuild.CU124, "cu124"),
        (TorchBuild.DEFAULT, [card(8, 6)], TorchBuild.DEFAULT, None),
    ],
)
def test_the_build_follows_the_gpu_unless_it_was_named(
    monkeypatch: pytest.MonkeyPatch, asked: TorchBuild, gpus: list[Gpu], build: TorchBuild, backend: str | None
) -> None:
    monkeypatch.setattr(toolchain, "MACOS", False)

    plan = toolchain.plan(MODERN, V10, asked, [], gpus)

    assert (plan.build, plan.backend) == (build, backend)


def test_a_mac_takes_the_default_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "MACOS", True)

    assert toolchain.plan(MODERN, V10, TorchBuild.AUTO, [], []).build is TorchBuild.DEFAULT


def test_the_plan_holds_torch_the_checkouts_own_requirements_and_our_pins() -> None:
    assert toolchain.plan(MODERN, V10, TorchBuild.CPU, [], []).requirements == (
        "torch==2.6.0",
        "torchvision==0.21.0",
        "accelerate==1.6.0",
        "transformers==4.54.1",
        "opencv-python==4.8.1.78",
        "bitsandbytes==0.50.2",
        "numpy<3",
    )


def test_an_rtx_50_gets_a_torch_and_an_xformers_that_know_it() -> None:
    wanted = toolchain.plan(MODERN, V10, TorchBuild.AUTO, [Extra.XFORMERS], [card(12, 0)]).requirements

    assert wanted[:2] == ("torch==2.8.0", "torchvision==0.23.0")
    assert wanted[-1] == "xformers==0.0.32.post2"


def test_the_classic_row_has_its_own_cuda_and_none_for_an_rtx_50() -> None:
    assert toolchain.plan(CLASSIC, V08, TorchBuild.AUTO, [], [card(8, 6)]).backend == "cu121"
    with pytest.raises(SetupError, match="has no build for CUDA"):
        toolchain.plan(CLASSIC, V08, TorchBuild.AUTO, [], [card(12, 0)])


@pytest.mark.parametrize("row", [MODERN, CLASSIC])
def test_every_extra_is_in_every_row(row: toolchain.Toolchain) -> None:
    wanted = toolchain.plan(row, V10, TorchBuild.CPU, list(Extra), []).requirements

    names = [re.split("[=<>]", text)[0] for text in wanted[-6:]]
    assert names == ["xformers", "lycoris-lora", "dadaptation", "wandb", "onnx", "onnxruntime"]


@pytest.mark.parametrize("row", [MODERN, CLASSIC])
def test_every_version_has_its_source(row: toolchain.Toolchain) -> None:
    facts = [row, *row.pins, *([row.rtx_50] if row.rtx_50 else [])]

    assert all(fact.source.strip() for fact in facts)
