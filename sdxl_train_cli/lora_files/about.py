"""What a file says of itself: its metadata, told for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePath

from sdxl_train_cli import files
from sdxl_train_cli.inspection import model_file
from sdxl_train_cli.inspection.model_file import ModelFile
from sdxl_train_cli.sdscripts import model_spec

_MOST_TAGS = 12
_LONGEST = 400
_NOTHING = frozenset({"", "None", "null"})
_PLAIN = (
    ("title", model_spec.TITLE),
    ("trigger", model_spec.TRIGGER),
    ("description", model_spec.DESCRIPTION),
    ("how to use", model_spec.USAGE_HINT),
    ("author", model_spec.AUTHOR),
    ("licence", model_spec.LICENCE),
    ("tags", model_spec.TAGS),
    ("made", model_spec.DATE),
    ("merged from", model_spec.MERGED_FROM),
)
"""Rows whose text stands in one key."""
_PROGRAMS = (
    ("ot_revision", "OneTrainer"), ("software", "ai-toolkit"), ("ss_sd_scripts_commit_hash", "sd-scripts"),
    ("lora_adapter_metadata", "diffusers"),
)  # fmt: skip
"""Keys that one program alone writes."""
_COMMIT_DIGITS = 10


def rows(model: ModelFile) -> list[tuple[str, str]]:
    """What is told, in the order in which people ask. Only what the metadata says."""
    metadata = model.metadata
    found = [(label, _told(metadata, key)) for label, key in _PLAIN]
    found += [
        ("base", _base(model)),
        ("network", _network(metadata)),
        ("trained", _length(metadata)),
        ("rates", _rates(metadata)),
        ("optimizer", _joined(_told(metadata, "ss_optimizer"), _told(metadata, "ss_lr_scheduler"))),
        ("pictures", _pictures(metadata)),
        ("resolution", _resolution(metadata)),
        ("captions", ", ".join(f"{tag} ({count})" for tag, count in tags(metadata)[:_MOST_TAGS])),
        ("comment", _told(metadata, "ss_training_comment")),
        ("trainer", _trainer(metadata)),
    ]  # fmt: skip
    return [(label, text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...") for label, text in found if text]


def tags(metadata: Mapping[str, str]) -> list[tuple[str, int]]:
    """Words of the captions and how often they occur, the commonest first."""
    counts: Counter[str] = Counter()
    for folder in _object(metadata.get("ss_tag_frequency")).values():
        if isinstance(folder, dict):
            counts.update({tag.strip(): count for tag, count in folder.items() if isinstance(count, int)})
    return counts.most_common()


def _told(metadata: Mapping[str, str], key: str) -> str:
    text = metadata.get(key, "")
    return "" if text in _NOTHING else text.strip()


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _base(model: ModelFile) -> str:
    name = _told(model.metadata, "ss_sd_model_name")
    said = model.said_prediction if model.said_prediction != model_file.EPSILON else None
    return _joined(PurePath(name).name if name.startswith("/") else name, model.said_family or "", said or "")


def _network(metadata: Mapping[str, str]) -> str:
    more = _object(metadata.get("ss_network_args"))
    words = [f"{name} {value}" for name, value in more.items() if isinstance(value, str | int | float)]
    dim, alpha = _told(metadata, "ss_network_dim"), _told(metadata, "ss_network_alpha")
    sizes = [f"dim {dim}" if dim else "", f"alpha {alpha}" if alpha else ""]
    return _joined(_told(metadata, "ss_network_module"), *sizes, *words)


def _length(metadata: Mapping[str, str]) -> str:
    named = (("ss_steps", "step"), ("ss_epoch", "epoch"))
    words = [_counted(_told(metadata, key), noun) for key, noun in named if _told(metadata, key)]
    batch = _told(metadata, "ss_total_batch_size") or _told(metadata, "ss_batch_size_per_device")
    return _joined(*words, f"batch size {batch}" if batch else "")


def _counted(told: str, noun: str) -> str:
    """A number as the file writes it, whatever that is, with its noun."""
    return f"{told} {noun}{'' if told == '1' else 's'}"


def _rates(metadata: Mapping[str, str]) -> str:
    unet, text = _told(metadata, "ss_unet_lr"), _told(metadata, "ss_text_encoder_lr").strip("[]")
    general = _told(metadata, "ss_learning_rate")
    return _joined(
        f"U-Net {unet or general}" if unet or general else "", f"text encoders {text}" if text not in _NOTHING else ""
    )


def _pictures(metadata: Mapping[str, str]) -> str:
    total, validation = _told(metadata, "ss_num_train_images"), _told(metadata, "ss_num_validation_images")
    regular = _told(metadata, "ss_num_reg_images")
    folders = [one for one in _object(metadata.get("ss_dataset_dirs")).values() if isinstance(one, dict)]
    real = [one["img_count"] for one in folders if isinstance(one.get("img_count"), int)]
    repeats = sorted({str(one["n_repeats"]) for one in folders if "n_repeats" in one})
    return _joined(
        f"{sum(real)} in {len(real)} folders" if len(real) > 1 else str(sum(real)) if real else "",
        f"repeated {' and '.join(repeats)} times" if repeats and repeats != ["1"] else "",
        f"{total} with repeats" if total and total != str(sum(real)) else "",
        f"{regular} for regularisation" if regular not in {"", "0"} else "",
        f"{validation} held back" if validation not in {"", "0"} else "",
    )


def _of_datasets(metadata: Mapping[str, str]) -> str:
    found = _parsed(metadata.get("ss_datasets"))
    sizes = [one.get("resolution") for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return ", ".join(dict.fromkeys("x".join(map(str, size)) for size in sizes if isinstance(size, list)))


def _resolution(metadata: Mapping[str, str]) -> str:
    return _told(metadata, "ss_resolution") or _of_datasets(metadata) or _told(metadata, model_spec.RESOLUTION)


def _trainer(metadata: Mapping[str, str]) -> str:
    return _joined(*_trainers(metadata))


def _trainers(metadata: Mapping[str, str]) -> Iterator[str]:
    for key, program in _PROGRAMS:
        if key in metadata:
            told = metadata[key]
            is_commit = told.isalnum() and len(told) >= _COMMIT_DIGITS
            yield f"{program} {told[:_COMMIT_DIGITS]}" if is_commit else program


def _object(text: str | None) -> Mapping[str, object]:
    found = _parsed(text)
    return found if isinstance(found, dict) else {}


def _parsed(text: str | None) -> object:
    try:
        return files.parse_json(text or "")
    except ValueError:
        return None


def raw(metadata: Mapping[str, str]) -> str:
    """All metadata as JSON, with the JSON inside of values unfolded."""
    unfolded = {key: _unfolded(text) for key, text in metadata.items()}
    return json.dumps(unfolded, indent=1, ensure_ascii=False)


def _unfolded(text: str) -> object:
    found = _parsed(text) if text[:1] in {"{", "["} else None
    return text if found is None else found
