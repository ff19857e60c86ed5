"""What argparse refuses: a value without quotes, a broken line, another script's or release's option, a misspelling."""

from __future__ import annotations

import pytest

from sdxl_train_cli.failures import diagnosis

LORA, WHOLE = "sdxl_train_network.py", "sdxl_train.py"


def told(script: str, words: str) -> tuple[str, str]:
    """Cause and remedy for these refused words."""
    found = diagnosis.explain(["usage: x.py [-h]", f"{script}: error: unrecognized arguments: {words}"])
    assert found is not None
    return found.cause, found.remedy


@pytest.mark.parametrize(
    ("script", "words", "cause", "remedy"),
    [
        (LORA, r"My models\base.safetensors", "a path with a blank is not in quotes", "whole path in quotes"),
        ("train_network.py", "UI/models/x.ckpt", "a path with a blank is not in quotes", "whole path in quotes"),
        (LORA, "woman", "a value with a blank is not in quotes: its rest is woman", "whole value in quotes"),
        (LORA, "1024", "1024 belongs to the value before it", "768,768"),
        (LORA, "\\", "a shell's \\ does not continue the line", "not even a blank"),
        (LORA, "^", "Windows' ^ does not continue the line", "` (PowerShell)"),
        (LORA, "`", "PowerShell's ` does not continue the line", "\\ (bash)"),
        (LORA, "\u2013network_dim=32", "begins with a dash instead of a hyphen", "type --network_dim=32"),
        (LORA, "\u2014cache_latents", "begins with a dash instead of a hyphen", "type --cache_latents"),
        (LORA, "--train_text_encoder", "belongs to another script, sdxl_train.py", "`sdxl-train dreambooth`"),
        (LORA, "--learning_rate_te1 1e-6", "belongs to another script, sdxl_train.py", "`sdxl-train dreambooth`"),
        (WHOLE, "--unet_lr=1e-4", "belongs to another script, sdxl_train_network.py", "`sdxl-train lora`"),
        (WHOLE, "--scale_weight_norms 1", "belongs to another script, sdxl_train_network.py", "`sdxl-train lora`"),
        (LORA, "--train_inpainting", "too old or too new for --train_inpainting: v0.11.1 has it", "setup --ref"),
        (LORA, "--skip_until_initial_step", "v0.10.1 and v0.11.1 has it", "setup --ref"),
        (LORA, "--learning_rat 1e-4", "--learning_rat is misspelt", "did you mean learning_rate"),
        (LORA, "--netwrok-dim=8", "--netwrok-dim is misspelt", "did you mean network_dim"),
        (WHOLE, "--stop_text_encoder_training=0", "is for SD 1.5 and 2", "leave it out"),
        (LORA, "weight_decay=0.04", "stands behind another option than optimizer_args", "right behind the one"),
        (LORA, "the queen --save_model_as=safetensors --network_dim=8", "its rest is the queen", "value in quotes"),
        (LORA, "--xyzzy", "no sd-scripts known here has an option --xyzzy", "leave it out"),
    ],
)
def test_an_unrecognized_argument_is_one_of_several_things(script: str, words: str, cause: str, remedy: str) -> None:
    found = told(script, words)

    assert cause in found[0]
    assert remedy in found[1]


def test_several_kinds_at_once_are_all_told() -> None:
    cause, remedy = told(LORA, r"dogs\10_a --train_text_encoder ^ --learning_rat 1e-4")

    assert [part.split()[0] for part in cause.split("; ")] == [
        "Windows'",
        "--train_text_encoder",
        "--learning_rat",
        "a",
    ]
    assert len(remedy.split("; ")) == 4


def test_the_value_of_a_refused_option_is_no_value_without_quotes() -> None:
    assert told(LORA, "--xyzzy 5")[0] == "no sd-scripts known here has an option --xyzzy"


def test_sound_options_behind_a_word_without_quotes_are_not_blamed() -> None:
    assert "network_dim" not in told(LORA, "the queen --network_dim=8")[0]
    assert "--network_dim" in told(LORA, "--network_dim=8")[0]


def test_an_ambiguous_option_is_told_with_what_it_may_mean() -> None:
    found = diagnosis.explain([f"{LORA}: error: ambiguous option: --min_b could match --min_bucket_reso, --min_beta"])

    assert found is not None
    assert found.cause == "--min_b is short for several options"
    assert found.remedy == "write it in full: --min_bucket_reso or --min_beta"


@pytest.mark.parametrize("letters", [100_000])
def test_a_long_line_of_junk_takes_no_time(letters: int) -> None:
    assert told(LORA, "x " * letters)[0].startswith("a value with a blank")
