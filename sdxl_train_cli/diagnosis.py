"""A failed run's last output -> cause and remedy: signatures as data, and no guess where none matches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
    """What went wrong and what to do about it."""

    cause: str
    remedy: str


_LESS_MEMORY = "take a smaller preset (`sdxl-train presets list`), --batch-size 1, or close programs that use the GPU"
_SIGNATURES = (
    (r"OutOfMemoryError|CUDA out of memory|HIP out of memory", "the GPU's memory ran out", _LESS_MEMORY),
    (r"No data found", "sd-scripts found no picture to train on", "check --data and its captions"),
    (r"NaN detected in latents", "the VAE gave NaN for a picture",
     "--set no_half_vae=true, or give --vae a repaired VAE"),
    (r"Can't load tokenizer|couldn't connect to '?https://huggingface|LocalEntryNotFoundError",
     "a file had to come from the Hugging Face hub, and it did not", "connect once, or set HF_ENDPOINT to a mirror"),
    (r"No space left on device|os error 28|os error 112", "the disk is full",
     "free some space, or choose another place with --output"),
    (r"no kernel image is available", "this torch has no kernels for this GPU",
     "`sdxl-train setup --torch cu128 --recreate`"),
    (r"CUDA Setup failed|libbitsandbytes", "bitsandbytes does not work with this driver",
     "--set optimizer_type=Adafactor, or update the NVIDIA driver"),
    (r"fp16 mixed precision requires a GPU|Torch not compiled with CUDA|no NVIDIA driver",
     "torch sees no GPU", "`sdxl-train setup --torch cu124 --recreate`, and check `nvidia-smi`"),
    (r"Error\(s\) in loading state_dict for Sdxl|unexpected key in SD",
     "the base model is not SDXL", "give --model an SDXL checkpoint"),
    (r"SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer", "a model file is broken", "download it again"),
    (r"model is not found as a file or in Hugging Face", "the model was not found", "check --model"),
    (r"Attempting to unscale FP16 gradients", "fp16 weights can't be trained this way",
     "--set mixed_precision=bf16, and leave full_fp16 away"),
    (r"No module named 'lycoris'", "LyCORIS is not installed", "`sdxl-train setup --extra lycoris`"),
    (r"No xformers|xformersがインストールされていない", "xformers is not installed",
     "--set sdpa=true, or `sdxl-train setup --extra xformers`"),
    (r"TritonMissing|working triton installation", "torch.compile needs triton", "leave torch_compile away"),
    (r"use_libuv was requested", "this torch can't train on several GPUs on Windows", "choose one: --gpu 0"),
    (r"paging file is too small|3221225477|DefaultCPUAllocator: (not enough|can't allocate)|SIGKILL|died with.*: 9",
     "the computer's own memory ran out, or something killed the trainer",
     "close programs, enlarge the swap or paging file, or --set lowram=true"),
    (r"caption file is empty", "a caption file is empty", "write a caption into it, or delete it"),
    (r"unrecognized arguments|invalid choice|expected one argument",
     "this sd-scripts does not take one of the options", "`sdxl-train setup --recreate` asks it for its options anew"),
)  # fmt: skip


def explain(lines: Sequence[str]) -> Diagnosis | None:
    """The first signature that stands in the output, or None."""
    words = "\n".join(lines)
    for pattern, cause, remedy in _SIGNATURES:
        if re.search(pattern, words):
            return Diagnosis(cause, remedy)
    return None


def last_words(lines: Sequence[str]) -> str | None:
    """The line that says most where no signature matches: the last error's own."""
    for line in reversed(lines):
        if re.match(r"\s*(\w+\.)*\w*(Error|Exception|Interrupt)\b", line) and "CalledProcessError" not in line:
            return line.strip()
    return None
