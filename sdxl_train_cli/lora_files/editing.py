"""Edit a file's metadata: what it says of itself, by Stability-AI's ModelSpec, and any other key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sdxl_train_cli import formatting
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.inspection import model_file
from sdxl_train_cli.inspection.model_file import ModelFile
from sdxl_train_cli.lora_files import scrubbing
from sdxl_train_cli.lora_files.scrubbing import Scrubbed
from sdxl_train_cli.lora_files.traces import KnownNames
from sdxl_train_cli.sdscripts import model_spec

_SHOWN = 5
FIELDS = ("title", "trigger_phrase", "author", "license", "description", "tags", "usage_hint", "merged_from")
"""Fields of the ModelSpec that a person writes."""
_ARCHITECTURES = {model_file.SDXL: model_spec.SDXL}
_RESERVED = "__metadata__"


@dataclass(frozen=True)
class MetadataEdit:
    """What is to be changed."""

    fields: Mapping[str, str]
    """ModelSpec fields by their plain names."""
    settings: Sequence[str] = ()
    """`KEY=VALUE` each."""
    removals: Sequence[str] = ()
    scrub: bool = False
    keep_captions: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether it changes nothing."""
        return not (self.fields or self.settings or self.removals or self.scrub)


@dataclass(frozen=True)
class MetadataEdited:
    """The new metadata, and what scrubbing has taken."""

    metadata: Mapping[str, str]
    scrubbed: Scrubbed | None


def edit(model: ModelFile, change: MetadataEdit, known: KnownNames) -> MetadataEdited:
    """Apply an edit: scrubbed first, then keys removed, then set. UsageError for a key that can't be one."""
    metadata = dict(model.metadata)
    scrubbed = scrubbing.scrub(metadata, known, keep_captions=change.keep_captions) if change.scrub else None
    if scrubbed is not None:
        metadata = dict(scrubbed.kept)
    for key in change.removals:
        if key not in model.metadata:
            raise UsageError(f"it has no key '{formatting.cut(key)}'", _offered(key, model.metadata))
        metadata.pop(key, None)
    settings = dict(map(parse_setting, change.settings))
    fields = {f"{model_spec.PREFIX}{name}": text for name, text in change.fields.items()}
    metadata |= settings | {key: text for key, text in fields.items() if text}
    for key in (key for key, text in fields.items() if not text):
        metadata.pop(key, None)
    if any(key.startswith(model_spec.PREFIX) for key in (*fields, *settings)):
        metadata = {**_required(model, metadata), **metadata}
    return MetadataEdited(metadata, scrubbed)


def parse_setting(text: str) -> tuple[str, str]:
    """`KEY=VALUE`. UsageError for anything else."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or key.strip() == _RESERVED:
        raise UsageError(f"'{text}' is not KEY=VALUE", "such as --set modelspec.usage_hint='0.8 is enough'")
    return key.strip(), value


def _offered(key: str, there: Mapping[str, str]) -> str:
    """The keys that may have been meant, else the first of all."""
    return formatting.suggestion(key, there) or f"its keys: {formatting.some(sorted(there), _SHOWN) or 'none'}"


def _required(model: ModelFile, metadata: Mapping[str, str]) -> dict[str, str]:
    """What the ModelSpec wants of every file that has any of its keys."""
    family = _ARCHITECTURES.get(model.family or "")
    kind = model_spec.LORA if model.is_network else model_spec.EMBEDDING if model.is_embedding else ""
    is_theirs = model.is_network and "kohya" not in model.dialects
    found = {
        model_spec.SPEC_VERSION: model_spec.VERSION,
        model_spec.ARCHITECTURE: None if family is None else f"{family}{kind}",
        model_spec.IMPLEMENTATION: model_spec.DIFFUSERS if is_theirs else model_spec.STABILITY_AI,
        model_spec.TITLE: metadata.get("ss_output_name"),
    }
    return {key: text for key, text in found.items() if text and key not in metadata}
