"""What a remedy says of optimizer and precision fits the run and its GPU."""

from __future__ import annotations

import pytest

from sdxl_train_cli.failures import diagnosis, known_failures, remedies
from sdxl_train_cli.failures.remedies import RunFacts
from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value
from sdxl_train_cli.recipes import presets

NAN = ["steps:  10%|█ | 40/400 [00:40<12:40,  2.00s/it, avr_loss=nan]"]
NO_PRODIGY = ["ImportError: No Prodigy / Prodigy is not installed"]

NO_BF16 = ["ValueError: bf16 mixed precision requires PyTorch >= 1.10 and a supported device."]


def recipe(kind: Kind = Kind.LORA, **changes: Value) -> Recipe:
    loaded = presets.load(kind, "full" if kind is Kind.DREAMBOOTH else "dim32")
    return loaded.replaced({name: Setting(value=value) for name, value in changes.items()})


def remedy(lines: list[str], facts: RunFacts = RunFacts()) -> str:  # noqa: B008 - it is frozen
    found = diagnosis.explain(lines, facts)
    assert found is not None
    return found.remedy


@pytest.mark.parametrize(
    "card", ["NVIDIA GeForce GTX 1660 SUPER", "NVIDIA GeForce GTX 1650", "NVIDIA T600", "Quadro T2000"]
)
def test_no_remedy_sends_a_gtx_16_round_in_a_circle(card: str) -> None:
    facts = RunFacts(recipe(mixed_precision="fp16"), card)

    for told in (remedy(NAN, facts), remedies.not_a_number(facts), remedy(NO_BF16, facts)):
        assert "--set mixed_precision=no" in told
        assert "twice the memory" in told
        assert "=fp16" not in told
        assert "=bf16" not in told


@pytest.mark.parametrize("card", ["NVIDIA GeForce RTX 3060", "NVIDIA GeForce RTX 2060", "Tesla T4", "NVIDIA A100"])
def test_other_cards_are_told_bf16(card: str) -> None:
    assert "--set mixed_precision=bf16," in remedy(NAN, RunFacts(recipe(), card))


def test_a_strangers_log_is_told_both() -> None:
    told = remedy(NAN)

    assert "--set mixed_precision=bf16" in told
    assert "--set mixed_precision=no" in told


def test_a_run_in_bf16_is_not_told_bf16() -> None:
    told = remedies.not_a_number(RunFacts(recipe(mixed_precision="bf16", learning_rate=2e-4), "NVIDIA RTX A4000"))

    assert "--set learning_rate=0.0001" in told
    assert "mixed_precision" not in told


def test_an_optimizer_that_is_missing_is_swapped_with_its_rate() -> None:
    prodigy = recipe(optimizer_type="Prodigy", learning_rate=1.0, optimizer_args=("d_coef=2",))

    assert remedy(NO_PRODIGY, RunFacts(prodigy)) == (
        "--set optimizer_type=AdamW8bit --set optimizer_args=null --set learning_rate=1e-4"
    )
    assert "--set learning_rate=1e-4 --set unet_lr=null --set text_encoder_lr=null" in remedy(NO_PRODIGY)
    assert "--set learning_rate=1e-5" in remedy(['  File "sdxl_train.py", line 1, in <module>', *NO_PRODIGY])


def test_every_place_in_a_remedy_is_filled() -> None:
    for row in known_failures.load():
        for facts in (
            RunFacts(),
            RunFacts(recipe(), "NVIDIA GeForce GTX 1660"),
            RunFacts(recipe(Kind.DREAMBOOTH), "Tesla T4"),
        ):
            assert "{" not in remedies.in_full(row.remedy, facts)


@pytest.mark.parametrize(
    "line",
    [
        "ModuleNotFoundError: No module named 'imagesize'",
        "ImportError: cannot import name 'CLIPFeatureExtractor' from 'transformers' (/venv/lib)",
        "RuntimeError: operator torchvision::nms does not exist",
        "RuntimeError: Error building extension 'fused_adam'",
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        "MemoryError",
        "OSError: [WinError 1455] The paging file is too small for this operation to complete",
    ],
)
def test_what_is_the_fault_of_machine_or_packages_names_doctor(line: str) -> None:
    assert "`sdxl-train doctor" in remedy([line])
