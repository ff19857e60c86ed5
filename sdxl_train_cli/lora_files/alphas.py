"""Find the alpha of each module of a LoRA: up times down is multiplied with alpha / rank.

It is a tensor (kohya's trainer and its kin), or stands in the metadata `lora_adapter_metadata` (diffusers from 0.34
on), or in adapter_config.json beside the file (peft). Else it is the rank, so that nothing is multiplied.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from sdxl_train_cli import files
from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.lora_files import plans
from sdxl_train_cli.lora_files.handed import HandedFile

ALPHA = ".alpha"
METADATA = "lora_adapter_metadata"
PEFT_PREFIX = "base_model.model."
PARTS = ("unet", "text_encoder", "text_encoder_2")
"""diffusers' names of the models, which stand in front of names in both tensors and metadata."""
_CONFIG = "adapter_config.json"
_ENDINGS = ("", ".lora", "_lora", ".lora_linear_layer")
"""What may stand between a module's name and `.alpha`."""


class Alphas:
    """The alphas of one file."""

    def __init__(self, found: HandedFile) -> None:
        self._found = found

    def of(self, module: str, rank: int) -> float:
        """The alpha of a module, by what its tensors' names begin with. ModelError where it can't be known."""
        names = (f"{module}{ending}{ALPHA}" for ending in _ENDINGS)
        own = next((name for name in names if name in self._found.header.shapes), None)
        if own is not None:
            alpha = plans.number(self._found, own)
            if not math.isfinite(alpha):
                raise ModelError(f"{self._found.path} is broken: {own} is no number", "download it again")
            return alpha
        bare = module.removeprefix(PEFT_PREFIX)
        part, _, inner = bare.partition(".")
        if part not in PARTS:
            part, inner = "", bare
        told = self._told(part) if self._metadata or bare == module else self._beside
        return _configured(told, inner, rank)

    def _told(self, part: str) -> Mapping[str, Any]:
        """What the metadata says of a part: its keys have the part's name in front, as the tensors' names have."""
        if not part:
            return self._metadata
        return {
            key.removeprefix(f"{part}."): value for key, value in self._metadata.items() if key.startswith(f"{part}.")
        }

    @cached_property
    def _metadata(self) -> Mapping[str, Any]:
        return _object(self._found.model.metadata.get(METADATA, ""))

    @cached_property
    def _beside(self) -> Mapping[str, Any]:
        """Peft's config. Its files have names that begin alike."""
        path = self._found.path.with_name(_CONFIG)
        try:
            found = _object(files.read_text(path))
        except (OSError, ValueError):
            found = {}
        if "lora_alpha" not in found:
            words = f"how strong {self._found.path.name} is stands in {_CONFIG}, which peft writes, and isn't beside it"
            raise ModelError(words, f"put {_CONFIG} into {self._found.path.parent}")
        return found


def adapter_metadata(ranks: Mapping[str, int]) -> str | None:
    """What diffusers has to be told of modules by their ranks: each has its own as alpha. None where all are alike.

    Unless it is told, diffusers before 0.42 takes the first module's rank for the alpha of all (get_peft_kwargs).
    """
    told: dict[str, object] = {}
    for part in PARTS:
        own = {name.removeprefix(f"{part}."): rank for name, rank in ranks.items() if name.startswith(f"{part}.")}
        if own:
            usual = Counter(own.values()).most_common(1)[0][0]
            others = {name: rank for name, rank in own.items() if rank != usual}
            config = {"r": usual, "lora_alpha": usual, "rank_pattern": others, "alpha_pattern": others,
                      "target_modules": list(own)}  # fmt: skip
            told |= {f"{part}.{key}": value for key, value in config.items()}
    is_needed = any(told.get(f"{part}.rank_pattern") for part in PARTS)
    return json.dumps(told) if is_needed else None


def _configured(config: Mapping[str, Any], module: str, rank: int) -> float:
    """Peft's rule: a module's own alpha, else that of all; with rsLoRA it is divided by the root of the rank."""
    own = _pattern(config.get("alpha_pattern"), module)
    alpha = config.get("lora_alpha", rank) if own is None else own
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise ModelError(f"the alpha of {module} is no number", "download the file again")
    return float(alpha) * (math.sqrt(rank) if config.get("use_rslora") is True else 1.0)


def _pattern(patterns: object, module: str) -> object:
    """What a pattern says of a module: a whole name, or how it ends."""
    if not isinstance(patterns, dict):
        return None
    named = {key.removeprefix("^"): alpha for key, alpha in patterns.items()}
    return next((alpha for key, alpha in named.items() if module == key or module.endswith(f".{key}")), None)


def _object(text: str) -> dict[str, Any]:
    try:
        found = files.parse_json(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
