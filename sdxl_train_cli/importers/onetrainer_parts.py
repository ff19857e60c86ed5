"""Import the model parts of a OneTrainer JSON: which are trained, at which rates and precisions.

Follows TrainModelPartConfig and the migrations of modules/util/config/TrainConfig.py of Nerogar/OneTrainer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from sdxl_train_cli.importers import values
from sdxl_train_cli.importers.foreign_settings import ForeignKey, KeyFate, became, computed, ignored, shown

PARTS = frozenset({"unet", "text_encoder", "text_encoder_2", "vae"})
OTHER_TRAINER = "OneTrainer's own way of training; sd-scripts has no such option"
PRECISIONS: Mapping[str, str] = {"FLOAT_16": "fp16", "BFLOAT_16": "bf16", "FLOAT_32": "no", "TFLOAT_32": "no"}
_FULL: Mapping[str, str] = {"FLOAT_16": "full_fp16", "BFLOAT_16": "full_bf16"}
_DEFAULT_PRECISION = "FLOAT_16"
_TOLD = frozenset({"train", "learning_rate"})


def read(found: Mapping[str, object], *, full: bool) -> Iterator[ForeignKey]:
    """Yield the parts' options, and each of their keys once."""
    yield from _trained(found, full=full)
    yield from _unet_weights(found, full=full)
    yield from _vae(found)
    yield from _checkpointing(found)
    for name in sorted(PARTS & found.keys()):
        for key, value in part(found, name).items():
            yield from _rest(name, key, value)


def part(found: Mapping[str, object], name: str) -> Mapping[str, object]:
    """A part's settings. Empty if the file has none."""
    inner = found.get(name)
    return inner if isinstance(inner, dict) else {}


def rate_factor(found: Mapping[str, object]) -> float:
    """Factor by which OneTrainer multiplies every rate (learning_rate_scaler, NamedParameterGroup.py)."""
    batch, often = (values.number(found.get(key)) or 1 for key in ("batch_size", "gradient_accumulation_steps"))
    scaler = str(found.get("learning_rate_scaler") or "NONE").upper().removeprefix("GLOBAL_")
    scales = {"BATCH": batch, "GRADIENT_ACCUMULATION": often, "BOTH": batch * often}
    return math.sqrt(abs(scales.get(scaler, 1)))


def rate(key: str, raw: object, option: str, found: Mapping[str, object], note: str = "") -> ForeignKey | None:
    """A rate in the form that sd-scripts expects. None if there is none."""
    number, factor = values.number(raw), rate_factor(found)
    if number is None:
        return None
    given = number if factor == 1 else float(f"{number * factor:.6g}")
    value = (given,) if option == "text_encoder_lr" else given
    if factor != 1:
        scaled = f"times {factor:.4g}, by learning_rate_scaler {shown(found.get('learning_rate_scaler'))}"
        return computed(key, raw, option, value, f"{note}, {scaled}" if note else scaled)
    return computed(key, raw, option, value, note) if note else became(key, raw, option, value)


def _trained(found: Mapping[str, object], *, full: bool) -> Iterator[ForeignKey]:
    """Which parts are trained, and at which rates."""
    trains = {name: values.switch(part(found, name).get("train", True)) for name in PARTS - {"vae"}}
    texts = [name for name in ("text_encoder", "text_encoder_2") if trains[name]]
    own = rate("unet.learning_rate", part(found, "unet").get("learning_rate"), "learning_rate" if full else "unet_lr",
               found)  # fmt: skip
    if full:
        yield from _full_text_encoders(found, texts)
    elif not texts:
        yield computed("text_encoder.train", False, "network_train_unet_only", True, "no text encoder is trained")
    else:
        key = f"{texts[0]}.learning_rate"
        of_text = rate(key, part(found, texts[0]).get("learning_rate"), "text_encoder_lr", found)
        if of_text is not None:
            yield of_text
    if own is not None:
        yield own
    if not trains["unet"] and texts and not full:
        yield computed("unet.train", False, "network_train_text_encoder_only", True, "the U-Net is not trained")
    if texts:
        yield computed(", ".join(texts), True, "cache_text_encoder_outputs", None, "they are trained")


def _full_text_encoders(found: Mapping[str, object], texts: list[str]) -> Iterator[ForeignKey]:
    trained = ", ".join(texts) or "none"
    yield computed("text_encoder.train", trained, "train_text_encoder", bool(texts) or None, "whether one is trained")
    for name, option in (("text_encoder", "learning_rate_te1"), ("text_encoder_2", "learning_rate_te2")):
        raw = part(found, name).get("learning_rate")
        own = rate(f"{name}.learning_rate", raw, option, found)
        if texts and name not in texts:
            yield computed(f"{name}.learning_rate", raw, option, 0, "it is not trained")
        elif texts and own is not None:
            yield own


def _weights(found: Mapping[str, object], name: str) -> tuple[str, str | None]:
    """A part's precision and its key. Old files have one key for all parts."""
    own = str(part(found, name).get("weight_dtype") or "NONE").upper()
    if own != "NONE":
        return own, f"{name}.weight_dtype"
    common = found.get("weight_dtype")
    return ("FLOAT_32", None) if common is None else (str(common).upper(), "weight_dtype")


def _unet_weights(found: Mapping[str, object], *, full: bool) -> Iterator[ForeignKey]:
    own, key = _weights(found, "unet")
    if key is None:
        return
    trained_in = PRECISIONS.get(str(found.get("train_dtype") or _DEFAULT_PRECISION).upper())
    precision = PRECISIONS.get(own)
    if not full and own == "FLOAT_8":
        both = _weights(found, "text_encoder")[0] == "FLOAT_8"
        yield computed(key, own, "fp8_base" if both else "fp8_base_unet", True, "the frozen U-Net in 8 bits")
    elif not full and precision is not None:
        note = "the frozen model has the precision of mixed_precision"
        yield ForeignKey(key, shown(own), KeyFate.TAKEN, note=note)
    elif full and own in _FULL and precision == trained_in:
        yield computed(key, own, _FULL[own], True, "trained weights are kept in it")
    elif full and own in _FULL:
        yield ignored(key, own, f"sd-scripts keeps trained weights in it only with mixed_precision {precision}")
    elif full and precision == "no":
        yield computed(key, own, "full_bf16", None, "trained weights are kept in float32")
    else:
        yield ignored(key, own, "sd-scripts has no such precision")


def _vae(found: Mapping[str, object]) -> Iterator[ForeignKey]:
    own, key = _weights(found, "vae")
    note = "whether the VAE has full precision" if key else "not in the file: OneTrainer's default"
    yield computed(key or "(vae.weight_dtype)", own, "no_half_vae", own == "FLOAT_32" or None, note)


def _checkpointing(found: Mapping[str, object]) -> Iterator[ForeignKey]:
    """Newer files have a switch per part. sd-scripts has one, and it matters most for the U-Net."""
    own = part(found, "unet").get("gradient_checkpointing")
    if own is not None and "gradient_checkpointing" not in found:
        yield became("unet.gradient_checkpointing", own, "gradient_checkpointing", values.switch(own) or None)


def _rest(name: str, key: str, value: object) -> Iterator[ForeignKey]:
    shared = {"weight_dtype": ("unet", "vae"), "gradient_checkpointing": ("unet",)}
    if key == "train":
        yield ignored(f"{name}.train", value, "decides what is trained")
    elif key == "learning_rate" and value is None:
        yield ignored(f"{name}.learning_rate", value, "empty: the common one")
    elif key == "gradient_checkpointing" and name != "unet":
        yield ignored(f"{name}.gradient_checkpointing", value, "sd-scripts has one switch for all parts: the U-Net's")
    elif key == "weight_dtype" and name not in shared[key]:
        yield ignored(f"{name}.weight_dtype", value, "goes with mixed_precision")
    elif key == "dropout_probability" and values.number(value):
        hint = f"a caption left out: for both text encoders it is --set caption_dropout_rate={shown(value)}"
        yield ignored(f"{name}.{key}", value, hint)
    elif key not in _TOLD and name not in shared.get(key, ()):
        yield ignored(f"{name}.{key}", value, OTHER_TRAINER)
