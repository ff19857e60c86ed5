"""How a picture was drawn, and what of it the shared file's name and strength are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from sdxl_train_cli import untrusted_files
from sdxl_train_cli.sdscripts.sample_prompts import SamplePrompt

_SAMPLERS = Path(__file__).with_name("samplers.toml")
_LORA = re.compile(r"\s*<(?:lora|lyco):[^<>]*>", re.IGNORECASE)


@dataclass(frozen=True)
class SamplerNames:
    """A sampler by the names of image programs."""

    a1111: str
    comfy: str
    schedule: str
    """ComfyUI's scheduler."""


@dataclass(frozen=True)
class Drawing:
    """Everything that draws a picture again, as far as it is known."""

    prompt: str
    negative: str = ""
    steps: int | None = None
    scale: float | None = None
    seed: int | None = None
    sampler: SamplerNames | None = None
    strength: float = 1.0
    """Of the network. In training it is always 1."""


@cache
def samplers() -> Mapping[str, SamplerNames]:
    """sd-scripts' samplers, by the names that it gives them."""
    found = untrusted_files.toml_table(_SAMPLERS.read_text(encoding="utf-8"), _SAMPLERS.name)["sampler"]
    rows = found if isinstance(found, dict) else {}
    return {name: SamplerNames(row["a1111"], row["comfy"], row["schedule"]) for name, row in rows.items()}


def of_sample(line: SamplePrompt) -> Drawing:
    """How sd-scripts drew a sample."""
    return Drawing(line.prompt, line.negative, line.steps, line.scale, line.seed, samplers().get(line.sampler))


def without_network(drawing: Drawing) -> Drawing:
    """The same, with a prompt that loads no network: in another folder, it would be another file's name."""
    return replace(drawing, prompt=_LORA.sub("", drawing.prompt).strip(" ,"))
