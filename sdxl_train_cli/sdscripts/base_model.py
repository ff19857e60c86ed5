"""What a base model predicts: noise or velocity, on which schedule; told from headers alone, by the signs of a table.

Signs may disagree. They count in this order:

1. Tensors: image programs go by them, so whoever has used the base has seen it work that way.
2. Metadata: programs copy it along when they merge, and sd-scripts writes `epsilon` wherever it was not told otherwise.
3. The scheduler of a diffusers folder, or what is known of a model on the hub.
4. No sign: epsilon, which is what image programs take such a file for.

A name proves nothing, but one that speaks of v-prediction against 2, 3 or 4 is a doubt, and a person must say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

from sdxl_train_cli import files, layout, untrusted_files
from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.sdscripts import checkpoint, model_spec
from sdxl_train_cli.sdscripts.checkpoint import Header

_TABLE = Path(__file__).with_name("base_signs.toml")
_LARGEST_CONFIG = 1 << 20
_ANOTHER = "give --model an SDXL base that predicts noise (epsilon) or velocity (v)"
_NAMED = (
    (re.compile(r"v[-_. ]?(?:pred|param)|z(?:t|ero)?[-_. ]?snr"), "v-prediction"),
    (
        re.compile(r"rect\w*[-_. ]?flow|(?<![a-z])rf(?![a-z])|flow[-_. ]?match"),
        "rectified flow (which sd-scripts does not train)",
    ),
    (
        re.compile(r"(?<![a-z])edm(?![a-z])|cosxl|playground[-_. ]?v?2[-_.]5"),
        "EDM (which sd-scripts does not train)",
    ),
)
"""What a name says of a model, in lower case."""
_NAMES_IN_METADATA = (model_spec.TITLE, model_spec.MERGED_FROM, "sd_merge_recipe", "sd_merge_models")
_LATENT_CHANNELS, _INPAINTING_CHANNELS = 4, 9
"""An inpainting file is left to `checkpoint.require_sdxl`: v0.11 trains it."""
_FIRST_LAYERS = ("model.diffusion_model.input_blocks.0.0.weight", "conv_in.weight")


class Prediction(str, Enum):
    """What a model predicts; the value is what `--prediction` takes."""

    EPSILON = "epsilon"
    V = "v"
    V_ZERO_SNR = "v-ztsnr"

    @property
    def label(self) -> str:
        """In words."""
        return _LABELS[self]

    @property
    def options(self) -> dict[str, bool]:
        """The options of sd-scripts that train it."""
        return {
            "v_parameterization": self is not Prediction.EPSILON,
            "zero_terminal_snr": self is Prediction.V_ZERO_SNR,
        }

    @property
    def tensors(self) -> tuple[str, ...]:
        """The empty tensors by which image programs know such a checkpoint."""
        return {Prediction.V: ("v_pred",), Prediction.V_ZERO_SNR: ("v_pred", "ztsnr")}.get(self, ())


_LABELS = {
    Prediction.EPSILON: "epsilon",
    Prediction.V: "v-prediction",
    Prediction.V_ZERO_SNR: "v-prediction with zero terminal SNR",
}


@dataclass(frozen=True)
class BaseModel:
    """What is known of a base before it is loaded."""

    prediction: Prediction | None
    """None where a person must say."""
    reason: str
    """The sign that counts, in words."""
    has_sign: bool = False
    """False where `prediction` is what such files usually are."""
    doubt: str | None = None
    """Why a person must say."""
    predicts_v: bool = False
    """Set with a doubt about the schedule alone."""
    refused: str | None = None
    """What it is that sd-scripts can't train."""

    def require_trainable(self, model: str) -> None:
        """ModelError where sd-scripts has no loss for such a model."""
        if self.refused:
            raise ModelError(f"{model} is {self.refused} ({self.reason}), which sd-scripts does not train", _ANOTHER)


@dataclass(frozen=True)
class _Sign:
    means: str
    """As in the table; empty with `refused`."""
    refused: str | None
    reason: str


def look(model: str, fetched: Path | None = None) -> BaseModel:
    """Look at a file, a diffusers folder or a hub id; what is no model at all is told by `checkpoint.require_sdxl`.

    `fetched` is the folder of a hub id in the hub's cache.
    """
    path = layout.expand(Path(model))
    if files.is_file(path):
        return _of_file(path)
    if files.is_folder(path):
        return _of_folder(path, _name(path))
    if fetched is not None:
        return _of_folder(fetched, model)
    return _of_hub_id(model)


def name_by_tensors(header: Header) -> str | None:
    """What a checkpoint predicts, in words, where tensors say so: what image programs go by."""
    sign = next(_of_tensors(header), None)
    return None if sign is None else sign.refused or Prediction(sign.means).label


def _of_file(path: Path) -> BaseModel:
    if path.suffix.lower() != ".safetensors":
        return _judged([], _name(path), "a .ckpt file can not be looked into")
    try:
        header = checkpoint.read_header(path)
    except ModelError:
        return _judged([], "", "no header")
    signs = [*_of_channels(header, _INPAINTING_CHANNELS), *_of_tensors(header), *_of_metadata(header)]
    names = [_name(path), *(header.metadata.get(key, "") for key in _NAMES_IN_METADATA)]
    found = _judged(signs, "\n".join(names), "its header has no sign of v-prediction")
    if "ztsnr" in header.shapes and "v_pred" not in header.shapes:
        return BaseModel(None, "", doubt="its header has the tensor ztsnr without v_pred", refused=found.refused)
    return found


def _of_folder(folder: Path, name: str) -> BaseModel:
    signs: list[_Sign] = []
    for weights in sorted((folder / "unet").glob("*.safetensors"))[:1]:
        try:
            signs += _of_channels(checkpoint.read_header(weights))
        except ModelError:
            return _judged([], "", "no header")
    config = _config(folder / "scheduler" / "scheduler_config.json")
    if config is None:
        return BaseModel(None, "", doubt="its scheduler_config.json can't be read")
    signs += _of_scheduler(config)
    return _judged(signs, name, "its scheduler has no sign of v-prediction")


def _of_hub_id(model: str) -> BaseModel:
    for row in rows("hub"):
        names = [re.escape(name).replace(r"\*", ".*") for name in _texts(row["names"])]
        if any(re.fullmatch(name, model, re.IGNORECASE) for name in names):
            return _judged([_sign(row, "known by its name on the hub")], "", "")
    if not checkpoint.is_hub_id(model):
        return _judged([], "", "no such model")
    return BaseModel(None, "", doubt="it is not fetched yet, so nothing of it can be looked at")


def _judged(signs: list[_Sign], names: str, otherwise: str) -> BaseModel:
    """Let the first sign count, unless a name speaks against it."""
    refused = next((sign for sign in signs if sign.refused), None)
    if refused is not None:
        return BaseModel(None, refused.reason, refused=refused.refused)
    first = next(iter(signs), None)
    said = first.reason if first else otherwise
    if first is None or first.means == Prediction.EPSILON.value:
        for pattern, words in _NAMED:
            named = pattern.search(names.lower())
            if named:
                return BaseModel(None, "", doubt=f"its name ('{named[0]}') says {words}, but {said}")
    if first is not None and first.means == "v-?":
        doubt = f"{said}: this is v-prediction, but not said is whether with zero terminal SNR"
        return BaseModel(None, said, doubt=doubt, predicts_v=True)
    return BaseModel(Prediction(first.means) if first else Prediction.EPSILON, said, has_sign=first is not None)


def _of_channels(header: Header, *also: int) -> Iterator[_Sign]:
    """What the first layer of the U-Net takes in; the weights of a convolution have four sides."""
    for shape in (header.shapes.get(name, ()) for name in _FIRST_LAYERS):
        if len(shape) == 4 and shape[1] not in {_LATENT_CHANNELS, *also}:  # noqa: PLR2004 - as said
            yield _Sign("", "no plain SDXL model", f"its U-Net takes {shape[1]} channels, not {_LATENT_CHANNELS}")


def _of_tensors(header: Header) -> Iterator[_Sign]:
    for row in rows("tensors"):
        names = _texts(row["names"])
        if all(name in header.shapes for name in names):
            yield _sign(row, f"{'tensors' if len(names) > 1 else 'tensor'} {' and '.join(names)} in its header")


def _of_metadata(header: Header) -> Iterator[_Sign]:
    for row in rows("metadata"):
        key = str(row["key"])
        value = header.metadata.get(key, "").strip()
        if value.lower() in _texts(row["is"]):
            sign = _sign(row, f"{key}={value} in its metadata")
            has_zero_snr = header.metadata.get("ss_zero_terminal_snr", "").lower()
            if sign.means == "v-?" and has_zero_snr in {"true", "false"}:
                yield _Sign("v-ztsnr" if has_zero_snr == "true" else "v", None, sign.reason)
            else:
                yield sign


def _of_scheduler(config: Mapping[str, object]) -> Iterator[_Sign]:
    for row in rows("scheduler"):
        key = str(row["key"])
        if str(config.get(key)).lower() in map(str.lower, _texts(row["is"])):
            sign = _sign(row, f"{key} {config[key]} in its scheduler_config.json")
            if sign.means == "v" and config.get("rescale_betas_zero_snr") is True:
                sign = _Sign("v-ztsnr", None, f"{sign.reason}, with rescale_betas_zero_snr")
            yield sign


def _config(path: Path) -> Mapping[str, object] | None:
    """None where it can't be read; empty where there is none."""
    try:
        found = files.read_json(path, _LARGEST_CONFIG)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _name(path: Path) -> str:
    """The file's or folder's own name; a folder of the hub's cache has the model's above it."""
    hub = next((part for part in path.parts if part.startswith("models--")), "")
    return f"{hub}\n{path.name}"


def _sign(row: Mapping[str, object], reason: str) -> _Sign:
    refused = row.get("refused")
    return _Sign(str(row.get("means", "")), None if refused is None else str(refused), reason)


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


@cache
def _table() -> Mapping[str, object]:
    return untrusted_files.toml_table(_TABLE.read_text(encoding="utf-8"), _TABLE.name)


def rows(kind: str) -> list[Mapping[str, object]]:
    """The signs of one kind: tensors, metadata, scheduler or hub."""
    found = _table()[kind]
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
