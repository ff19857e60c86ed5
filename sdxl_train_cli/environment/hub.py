"""The Hugging Face Hub: what is cached, and whether the rest can be downloaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from sdxl_train_cli import files, layout
from sdxl_train_cli.environment import network
from sdxl_train_cli.errors import ModelError, SetupError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.sdscripts import checkpoint

TOKENIZERS = ("openai_clip-vit-large-patch14", "laion_CLIP-ViT-bigG-14-laion2B-39B-b160k")
"""Folders in which sd-scripts (library/strategy_base.py) stores the two CLIP tokenizers."""

TOKENIZER_FILES = ("vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json")
"""All that transformers' CLIPTokenizer reads."""


def tokenizer_url(name: str, file: str) -> str:
    """Where the hub has a file of a tokenizer."""
    return f"{_address(os.environ)}/{name.replace('_', '/', 1)}/resolve/main/{file}"


def _address(environ: Mapping[str, str]) -> str:
    return environ.get("HF_ENDPOINT") or "https://huggingface.co"


def fetched(hub_id: str, environ: Mapping[str, str]) -> Path | None:
    """The folder of a model in the hub's own cache; None where it is not there."""
    if not checkpoint.is_hub_id(hub_id):
        return None
    found = (_cache(environ) / f"models--{hub_id.replace('/', '--')}" / "snapshots").glob("*/model_index.json")
    return next((index.parent for index in found), None)


def cached_pipelines(environ: Mapping[str, str]) -> list[str]:
    """The ids of the models in diffusers' form that the hub's cache holds."""
    found = _cache(environ).glob("models--*--*/snapshots/*/model_index.json")
    names = sorted({index.parents[2].name for index in found})
    return [name.removeprefix("models--").replace("--", "/", 1) for name in names]


def _cache(environ: Mapping[str, str]) -> Path:
    cache_home = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = Path(environ.get("HF_HOME") or Path(cache_home) / "huggingface")
    typed = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    return layout.expand(Path(typed or home / "hub"))


def has_tokenizers(home: Home) -> bool:
    """Whether both tokenizers are completely downloaded: their vocabularies are present."""
    return all(files.is_file(home.tokenizers / name / "vocab.json") for name in TOKENIZERS)


def require_tagger(model: str, environ: Mapping[str, str]) -> None:
    """ModelError if the tagger must still be downloaded and the hub is unreachable."""
    address = _address(environ)
    if not network.is_reachable(address):
        hint = (
            "connect once, set HF_ENDPOINT to a mirror, or give --model a folder with model.onnx and selected_tags.csv"
        )
        raise ModelError(f"the tagger {model} must be fetched once, and {address} can't be reached", hint)


def _require_model(model: str, address: str, environ: Mapping[str, str]) -> None:
    """ModelError if the hub has no such model in diffusers' form. It answers 401 for what is private or not there."""
    has_token = any(environ.get(name) for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"))
    status = network.status(f"{address}/{model}/resolve/main/model_index.json")
    if status == HTTPStatus.NOT_FOUND or (status == HTTPStatus.UNAUTHORIZED and not has_token):
        raise ModelError(
            f"{address} has no public model {model} in diffusers' form",
            f"look at its spelling: SDXL's own is {checkpoint.SDXL_BASE}; HF_TOKEN opens private ones",
        )


def require(model: str, home: Home, environ: Mapping[str, str]) -> None:
    """Raise if something must still be downloaded, and the hub is unreachable or has no such model."""
    needs_model = checkpoint.is_hub_id(model) and fetched(model, environ) is None
    needs_tokenizers = not has_tokenizers(home)
    address = _address(environ)
    if not (needs_model or needs_tokenizers):
        return
    if network.is_reachable(address):
        if needs_model:
            _require_model(model, address, environ)
        return
    if needs_model:
        raise ModelError(
            f"{model} must be fetched once, and {address} can't be reached", "give --model a checkpoint file"
        )
    raise SetupError(
        f"the first run fetches two CLIP tokenizers, and {address} can't be reached",
        f"connect once, set HF_ENDPOINT to a mirror, or copy {' and '.join(TOKENIZERS)} into {home.tokenizers}",
    )
