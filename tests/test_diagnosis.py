"""Last words of failed runs, as the field knows them, and what is made of them."""

from __future__ import annotations

import pytest

from sdxl_train_cli import diagnosis

CALLED = "subprocess.CalledProcessError: Command '['/venv/bin/python', 'sdxl_train_network.py']' "


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.", "the GPU's memory ran out"),
        ("torch.cuda.OutOfMemoryError: CUDA out of memory.", "the GPU's memory ran out"),
        ("No data found. Please verify arguments", "sd-scripts found no picture to train on"),
        ("RuntimeError: NaN detected in latents: /data/a.png", "the VAE gave NaN for a picture"),
        ("OSError: Can't load tokenizer for 'openai/clip-vit-large-patch14'.", "a file had to come from the Hugging"),
        ("OSError: [Errno 28] No space left on device: '/out/a.safetensors'", "the disk is full"),
        ("RuntimeError: CUDA error: no kernel image is available for execution", "this torch has no kernels for"),
        ("RuntimeError: Error(s) in loading state_dict for SdxlUNet2DConditionModel:", "the base model is not SDXL"),
        (
            "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge",
            "a model file is broken",
        ),
        ("ValueError: Attempting to unscale FP16 gradients.", "fp16 weights can't be trained this way"),
        ("ModuleNotFoundError: No module named 'lycoris'", "LyCORIS is not installed"),
        (CALLED + "died with <Signals.SIGKILL: 9>.", "the computer's own memory ran out"),
        (CALLED + "returned non-zero exit status 3221225477.", "the computer's own memory ran out"),
        ("AssertionError: caption file is empty: /data/a.txt", "a caption file is empty"),
        ("sdxl_train_network.py: error: unrecognized arguments: --nope", "this sd-scripts does not take one of"),
    ],
)
def test_a_known_failure_is_named_with_a_remedy(line: str, cause: str) -> None:
    found = diagnosis.explain(["epoch 1/1", "Traceback (most recent call last):", line])

    assert found is not None
    assert found.cause.startswith(cause)
    assert found.remedy


@pytest.mark.parametrize("lines", [[], ["all is well"], ["KeyError: 'x'"]])
def test_nothing_is_guessed_where_no_sign_stands(lines: list[str]) -> None:
    assert diagnosis.explain(lines) is None


def test_the_last_words_are_the_trainers_and_not_its_launchers() -> None:
    lines = ["ValueError: the first", "RuntimeError: the real one", "  more of it", CALLED + "returned 1."]

    assert diagnosis.last_words(lines) == "RuntimeError: the real one"


@pytest.mark.parametrize("line", ["torch.cuda.CudaError: x", "KeyboardInterrupt", "Exception: x", "AssertionError"])
def test_errors_of_every_shape_are_last_words(line: str) -> None:
    assert diagnosis.last_words(["before", line, "behind"]) == line


def test_there_may_be_no_last_words() -> None:
    assert diagnosis.last_words(["INFO an Error in the middle of a line", ""]) is None
