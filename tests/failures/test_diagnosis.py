"""Last words of failed runs, as the field knows them, and what is made of them."""

from __future__ import annotations

import textwrap
import time

import pytest
from failure_logs import EXIT_1, LOGS, START, TRACE, raised
from patience import PATIENCE_SECONDS

from sdxl_train_cli.failures import diagnosis
from sdxl_train_cli.failures.diagnosis import Ending
from sdxl_train_cli.failures.signature import Failure

CALLED = "subprocess.CalledProcessError: Command '['/venv/bin/python', 'sdxl_train_network.py']' "


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.", "the GPU's memory ran out"),
        ("torch.cuda.OutOfMemoryError: CUDA out of memory.", "the GPU's memory ran out"),
        ("No data found. Please verify arguments", "sd-scripts found no picture to train on"),
        ("RuntimeError: NaN detected in latents: /data/a.png", "the VAE gave NaN for a picture"),
        (
            "OSError: Can't load tokenizer for 'openai/clip-vit-large-patch14'.",
            "a file had to be downloaded from the Hugging",
        ),
        ("OSError: [Errno 28] No space left on device: '/out/a.safetensors'", "the disk is full"),
        ("RuntimeError: CUDA error: no kernel image is available for execution", "this torch has no kernels for"),
        ("RuntimeError: Error(s) in loading state_dict for SdxlUNet2DConditionModel:", "the base model is not SDXL"),
        (
            "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge",
            "a model file is broken",
        ),
        ("ValueError: Attempting to unscale FP16 gradients.", "fp16 weights can't be trained this way"),
        ("ModuleNotFoundError: No module named 'lycoris'", "LyCORIS is not installed"),
        ("TypeError: LycorisNetworkKohya.on_epoch_start() takes 2 positional arguments but 3 were", "LyCORIS does"),
        (CALLED + "died with <Signals.SIGKILL: 9>.", "the computer's own memory ran out"),
        (CALLED + "returned non-zero exit status 3221225477.", "the computer's own memory ran out"),
        ("AssertionError: caption file is empty: /data/a.txt", "a caption file is empty"),
        (
            "sdxl_train_network.py: error: unrecognized arguments: --nope",
            "no sd-scripts known here has an option --nope",
        ),
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

    assert diagnosis.examine(lines).last_words == ("RuntimeError: the real one", "more of it")
    assert diagnosis.last_error(lines) == "RuntimeError: the real one"


@pytest.mark.parametrize("line", ["torch.cuda.CudaError: x", "KeyboardInterrupt", "Exception: x", "AssertionError"])
def test_errors_of_every_shape_are_last_words(line: str) -> None:
    assert diagnosis.last_error(["before", line, "behind"]) == line


def test_there_may_be_no_error() -> None:
    assert diagnosis.last_error(["INFO an Error in the middle of a line", ""]) is None


@pytest.mark.parametrize("name", [name for name in LOGS if "Error: " in LOGS[name]])
def test_a_log_that_was_wrapped_and_indented_is_explained_the_same(name: str) -> None:
    wrapped = [
        part
        for line in LOGS[name].splitlines()
        for part in (
            textwrap.wrap(line, 80, subsequent_indent=" " * 9, break_long_words=False)
            if line and not line.startswith((" ", "steps"))
            else [line]
        )
    ]

    found = diagnosis.explain([line + " \r\n" for line in wrapped])

    assert found is not None
    assert found.name == name


BAR = "steps:   1%|#   | 1/9 [00:01<00:08,  1.00s/it, avr_loss={}]"
NOISE = """\
A matching Triton is not available, some optimizations will not be enabled.
Error caught was: No module named 'triton'
bitsandbytes: Failed to load CPU gemm_4bit_forward from kernels-community: No module named 'kernels'. Please
WARNING[XFORMERS]: xFormers can't load C++/CUDA extensions. xFormers was built for: PyTorch 2.1.2+cu121
2026-01-02 10:00:00.1: E external/local_xla/xla/cuda_dnn.cc:9261] Unable to register cuDNN factory
/venv/lib/diffusers/utils/outputs.py:63: FutureWarning: `torch.utils._pytree` is deprecated
  torch.utils._pytree._register_pytree_node(
"""


def test_noise_at_the_start_is_no_failure() -> None:
    found = diagnosis.examine((NOISE + "running training\n").splitlines())

    assert (found.ending, found.diagnosis) == (Ending.OPEN, None)
    assert found.last_words[-1] == "running training"
    assert not any("Triton" in line or "FutureWarning" in line for line in found.last_words)


def test_a_failure_that_is_not_known_is_not_guessed_from_noise_or_from_what_was_survived() -> None:
    log = NOISE + LOGS["no-xformers"].replace("CalledProcessError", "Survived") + TRACE + "KeyError: 'odd'\n" + EXIT_1

    found = diagnosis.examine(log.splitlines())

    assert (found.ending, found.diagnosis) == (Ending.UNKNOWN, None)
    assert found.last_words == ("KeyError: 'odd'",)


def test_out_of_memory_within_another_traceback_still_is_out_of_memory() -> None:
    again = "\nDuring handling of the above exception, another exception occurred:\n\n"
    log = (
        raised("torch.cuda.OutOfMemoryError: CUDA out of memory.", end="") + again + TRACE + "KeyError: 'x'\n" + EXIT_1
    )

    found = diagnosis.explain(log.splitlines())

    assert found is not None
    assert found.kind is Failure.GPU_MEMORY


def test_the_error_that_the_last_one_came_from_is_the_cause_where_that_is_not_known() -> None:
    again = "\nThe above exception was the direct cause of the following exception:\n\n"
    log = LOGS["picture-broken"].removesuffix(EXIT_1) + again + TRACE + "KeyError: 'x'\n" + EXIT_1

    found = diagnosis.explain(log.splitlines())

    assert found is not None
    assert found.name == "picture-broken"


@pytest.mark.parametrize(
    ("log", "ending"),
    [
        ("steps:  50%|#####     | 6/12 [00:01<00:01,  6.00it/s, avr_loss=0.1]\nmodel saved.\n", Ending.FINISHED),
        (LOGS["no-xformers"] + "model saved.\n", Ending.FINISHED),
        ("model saved.\n" + LOGS["no-xformers"], Ending.KNOWN),
        ("model saved.\nrunning training\n", Ending.OPEN),
        (LOGS["no-data"], Ending.KNOWN),
        (LOGS["nan-loss"], Ending.KNOWN),
        (f"{BAR.format('nan')}\r{BAR.format('0.2')}\nmodel saved.\n", Ending.FINISHED),
        (f"{BAR.format('0')}\n" * 3 + "model saved.\n", Ending.KNOWN),
        (f"{BAR.format('0.0')}\n" * 3, Ending.KNOWN),
        (f"{BAR.format('0')}\n" * 2 + "model saved.\n", Ending.FINISHED),
        (f"{BAR.format('0.012')}\n" * 3 + "model saved.\n", Ending.FINISHED),
        (f"{BAR.format('0')}\n" * 3 + f"{BAR.format('0.1')}\nmodel saved.\n", Ending.FINISHED),
        ("", Ending.OPEN),
    ],
)  # fmt: skip
def test_how_a_run_ended_is_told_before_why(log: str, ending: Ending) -> None:
    assert diagnosis.examine(log.splitlines()).ending is ending


def test_the_evidence_is_the_line_that_says_it() -> None:
    found = diagnosis.explain(LOGS["no-data"].splitlines())

    assert found is not None
    assert found.evidence == "No data found. Please verify arguments"


def test_the_last_words_are_few_and_hold_no_command_line() -> None:
    words = diagnosis.examine((START * 20 + EXIT_1.replace("status 1", "status 7")).splitlines()).last_words

    assert 0 < len(words) <= diagnosis.WORDS
    assert not any("CalledProcessError" in line or "--xformers" in line or "it/s" in line for line in words)


def test_a_large_log_is_explained_in_a_blink() -> None:
    line = "steps:   5%|▌         | 20/400 [00:40<12:40,  2.00s/it, avr_loss=0.1]"
    lines = [line] * 40_000 + LOGS["gpu-memory"].splitlines()
    started = time.perf_counter()

    assert diagnosis.explain(lines) is not None
    assert time.perf_counter() - started < PATIENCE_SECONDS
