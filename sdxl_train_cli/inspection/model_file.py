"""Tell from its header what a model file is: kind, base family, rank, names and what its metadata says."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sdxl_train_cli import files, formatting, handed_file
from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.sdscripts import base_model, checkpoint, model_spec, pickles
from sdxl_train_cli.sdscripts.base_model import Prediction
from sdxl_train_cli.sdscripts.checkpoint import Header

_SHOWN = 5
NAMES = Path(checkpoint.__file__).with_name("network_tensors.json")
"""What the tensors of networks are called; inside/weights.py reads it too."""
V_PREDICTION, EPSILON = Prediction.V.label, Prediction.EPSILON.label
_SAID_PREDICTIONS = {model_spec.V_PREDICTION: V_PREDICTION, "v_prediction": V_PREDICTION, "epsilon": EPSILON}
SDXL = "SDXL"
UNKNOWN = "unknown"
EMBEDDING = "embedding"
WORDS = {"clip_l": 768, "clip_g": 1280}
"""An embedding's tensors, one for each of SDXL's text encoders, and how many numbers each of their vectors has."""
_ALIKE = {"LoRA": "LoCon"}
"""What a kind is called if it reaches convolutions."""
_CROSS_ATTENTION = re.compile(r"attn2[._](?:processor[._])?to_k")
_CONTEXTS = {2048: SDXL, 768: "SD 1.x", 1024: "SD 2.x"}
"""Width of the text that a U-Net's cross-attention takes."""
_FAMILY_NAMES = (
    (re.compile(r"lora_te2_|text_encoder_2\."), SDXL),
    (re.compile(r"(?:lora_unet|unet|lycoris)[._].*transformer_blocks[._][2-9]"), SDXL),
    (re.compile(r"(?:lora_unet|transformer|lycoris).*(?:double_blocks|single_transformer_blocks)"), "Flux"),
    (re.compile(r"(?:lora_unet|transformer|lycoris).*joint_blocks"), "SD3"),
)
_FAMILY_WORDS = (("xl", SDXL), ("flux", "Flux"), ("stable-diffusion-3", "SD3"), ("sd3", "SD3"),
                 ("v2", "SD 2.x"), ("v1", "SD 1.x"))  # fmt: skip


@dataclass(frozen=True)
class NetworkTensors:
    """One form of a network's module, a row of the data file."""

    kind: str
    dialect: str
    factors: tuple[str, ...]
    """Endings of names."""
    rank: tuple[str, int] | None
    """The tensor whose side is the rank, and which side."""
    beside: str | None
    """An ending that must stand beside, if the factor's own is a common one."""
    needs: tuple[tuple[tuple[str, ...], ...], ...]
    """Each is there in one of these ways; two endings are multiplied with each other."""
    is_product: bool
    """Whether the first one's second side and the second one's first side are the rank."""
    tucker: tuple[str, ...]
    """Endings beside which the sides are others."""


@dataclass(frozen=True)
class ModelFile:
    """What a header tells of a file."""

    what: str
    """`LoRA`, `checkpoint`, `embedding`; or in words what else it is."""
    is_network: bool
    family: str | None
    """None if the header does not tell."""
    prediction: str | None
    ranks: tuple[int, ...]
    modules: tuple[str, ...]
    """Of a network: what it changes."""
    without_alpha: int
    """Modules in the kohya dialect without an alpha."""
    dialects: tuple[str, ...]
    kinds: tuple[str, ...]
    dtypes: tuple[str, ...]
    broken: tuple[str, ...]
    """Of a network: for each module that can't be put together, why."""
    missing: tuple[str, ...]
    """Parts of a whole SDXL model that it has not got."""
    names: tuple[str, ...]
    """Every tensor's name."""
    metadata: Mapping[str, str]
    vectors: int | None = None
    """Of an embedding: how many vectors it has for each text encoder."""

    @property
    def is_embedding(self) -> bool:
        """Whether it is the vectors of a word."""
        return self.what == EMBEDDING

    @property
    def is_checkpoint(self) -> bool:
        """Whether it is a whole SDXL model."""
        return self.what == "checkpoint"

    @property
    def is_part(self) -> bool:
        """Whether it has some parts of an SDXL model, and not all. One alone may be meant so."""
        return 0 < len(self.missing) < len(checkpoint.PARTS) - 1

    @property
    def is_unknown(self) -> bool:
        """Whether it is nothing that we know."""
        return self.what == UNKNOWN

    @property
    def alpha(self) -> float | None:
        """The alpha that the metadata names."""
        return number(self.metadata.get("ss_network_alpha"))

    @property
    def steps(self) -> int | None:
        """Steps that it was trained for, by its metadata."""
        found = number(self.metadata.get("ss_steps"))
        return None if found is None else int(found)

    @property
    def said_prediction(self) -> str | None:
        """The prediction type that the metadata names."""
        return _SAID_PREDICTIONS.get(self.metadata.get(model_spec.PREDICTION, "").lower())

    @property
    def said_family(self) -> str | None:
        """The base family that the metadata names."""
        said = self.metadata.get(model_spec.ARCHITECTURE, "") or self.metadata.get("ss_base_model_version", "")
        return next((family for word, family in _FAMILY_WORDS if word in said.lower()), None)


def number(text: str | None) -> float | None:
    """A number of the metadata. None if it is none."""
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if abs(found) < 1e12 else None  # noqa: PLR2004 - NaN too fails this


def read(path: Path) -> ModelFile:
    """Read a .safetensors file's header. ModelError if it is not a complete safetensors file."""
    return describe(checkpoint.read_header(path))


def require_safetensors(path: Path) -> None:
    """ModelError if it is no file, or one that can't be looked into without danger."""
    if files.is_folder(path):
        _refuse_folder(path)
    other = handed_file.other_kind(path, "checkpoint network embedding pickle web_page", "a model")
    if other is not None:
        raise ModelError(other)
    if not files.exists(path):
        raise ModelError(f"no file at {path}", "sdxl-train runs list shows every run")
    if path.suffix.lower() in pickles.SUFFIXES:
        raise ModelError(
            f"{path} is a pickle, which can hold code: it is never opened", "only .safetensors can be inspected"
        )


def _refuse_folder(path: Path) -> None:
    """ModelError that names its files as they can be typed: the shortest name first, which is a run's final file."""
    inner = sorted(path.glob("*.safetensors"), key=lambda file: (len(file.name), file.name))
    other = handed_file.other_kind(path, "", "a model")
    if other is not None and not inner:
        raise ModelError(other)
    hint = f"it has {formatting.some([formatting.shell_word(file) for file in inner], _SHOWN)}" if inner else None
    raise ModelError(
        f"{path} is {'a folder' if other is None else 'the folder of a run'}: name one .safetensors file", hint
    )


def describe(header: Header) -> ModelFile:
    """What a header tells."""
    rows = forms()
    modules = _modules(header.shapes, rows)
    found = {row for _, row in modules}
    is_network = bool(modules) and not header.has("first_stage_model.")
    kinds = tuple(dict.fromkeys(row.kind for row in rows if row in found))
    words = {name: shape for name, shape in header.shapes.items() if name in WORDS}
    words = words if len(words) == len(header.shapes) else {}
    names = tuple(dict.fromkeys(module for module, _ in modules)) if is_network else ()
    kohya = {module for module, row in modules if row.dialect == "kohya" and row.rank} if is_network else set()
    return ModelFile(
        what=_kind(kinds, header) if is_network else EMBEDDING if words else _other(header),
        is_network=is_network,
        family=_family(header, is_network=is_network),
        prediction=base_model.name_by_tensors(header),
        ranks=tuple(sorted({rank for _, rank in _ranks(header, modules)})) if is_network else (),
        modules=names,
        without_alpha=sum(f"{module}.alpha" not in header.shapes for module in kohya),
        dialects=tuple(dict.fromkeys(row.dialect for row in rows if row in found)) if is_network else (),
        kinds=kinds if is_network else (),
        dtypes=tuple(sorted(header.dtypes)),
        broken=tuple(_broken(header, modules) if is_network else _broken_words(words)),
        missing=checkpoint.missing_parts(header),
        names=tuple(header.shapes),
        metadata=header.metadata,
        vectors=next((shape[0] for shape in words.values() if shape), None),
    )


@cache
def forms() -> tuple[NetworkTensors, ...]:
    """Every form that a network's module can have."""
    table = json.loads(files.read_text(NAMES))
    return tuple(
        NetworkTensors(
            kind=row["kind"],
            dialect=row["dialect"],
            factors=tuple(row["factors"]),
            rank=(row["rank"][0], row["rank"][1]) if "rank" in row else None,
            beside=row.get("beside"),
            needs=tuple(tuple(map(tuple, ways)) for ways in row.get("needs", ())),
            is_product=row["form"] != "plain",
            tucker=tuple(row.get("tucker", ())),
        )
        for row in table["modules"]
    )


@cache
def _endings_beside() -> tuple[str, ...]:
    return tuple(json.loads(files.read_text(NAMES))["beside"])


def _modules(names: Iterable[str], rows: Iterable[NetworkTensors]) -> list[tuple[str, NetworkTensors]]:
    """Each module once for each form that its tensors have, in the file's order."""
    endings = {ending: row for row in rows if row.beside is None for ending in row.factors}
    endings |= {row.beside: row for row in rows if row.beside is not None}
    longest_first = sorted(endings, key=len, reverse=True)
    found: dict[tuple[str, NetworkTensors], None] = {}
    for name in filter(lambda name: name.endswith(tuple(endings)), names):
        ending = next(ending for ending in longest_first if name.endswith(ending))
        found[name[: -len(ending)], endings[ending]] = None
    return list(found)


def _kind(kinds: tuple[str, ...], header: Header) -> str:
    main = kinds[0]
    has_kernel = any(len(shape) == 4 and shape[2] > 1 for shape in header.shapes.values())  # noqa: PLR2004
    return _ALIKE.get(main, main) if has_kernel else main


def _other(header: Header) -> str:
    if all(name.endswith(_endings_beside()) for name in header.shapes):  # an alpha of nothing
        return UNKNOWN
    if checkpoint.name_other(header) is None and header.has("first_stage_model."):
        return "checkpoint"
    if len(checkpoint.missing_parts(header)) == len(checkpoint.PARTS) - 1 and checkpoint.name_other(header) is None:
        return next(f"a {part} alone" for prefix, part in checkpoint.PARTS if header.has(prefix))
    plain = Header({name.replace(f"{checkpoint.COMPILED}.", ""): shape for name, shape in header.shapes.items()}, {})
    return checkpoint.name_other(plain) or UNKNOWN


def ranks_by_module(header: Header) -> dict[str, int]:
    """The rank of each module of a network that has one."""
    return dict(_ranks(header, _modules(header.shapes, forms())))


def _ranks(header: Header, modules: Iterable[tuple[str, NetworkTensors]]) -> Iterator[tuple[str, int]]:
    for module, row in modules:
        shape = header.shapes.get(f"{module}{row.rank[0]}", ()) if row.rank else ()
        if row.rank and len(shape) > row.rank[1]:
            yield module, shape[row.rank[1]]


def _broken(header: Header, modules: Iterable[tuple[str, NetworkTensors]]) -> Iterator[str]:
    for module, row in modules:
        reasons = (_reason(header, module, row, ways) for ways in row.needs)
        reason = next(filter(None, reasons), None)
        alpha = header.shapes.get(f"{module}.alpha", ())
        if reason is None and math.prod(alpha) != 1:
            reason = f"has an alpha of {math.prod(alpha)} numbers"
        if reason is not None:
            yield f"{module} {reason}"


def _broken_words(words: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """Why an embedding's two tensors don't belong together."""
    if not words:
        return
    for name in WORDS.keys() - words.keys():
        yield f"it has no {name}"
    if any(len(shape) != 2 or not shape[0] for shape in words.values()):  # noqa: PLR2004 - a row for each vector
        yield "its tensors are no lists of vectors"
    elif len({shape[0] for shape in words.values()}) > 1:
        yield "its text encoders have different numbers of vectors"


def _reason(header: Header, module: str, row: NetworkTensors, ways: tuple[tuple[str, ...], ...]) -> str | None:
    """Why a module's factors don't fit together. None if they do."""
    there = next((way for way in ways if all(f"{module}{ending}" in header.shapes for ending in way)), None)
    if there is None:
        begun = next((way for way in ways if any(f"{module}{ending}" in header.shapes for ending in way)), ways[0])
        return f"has no {next(ending for ending in begun if f'{module}{ending}' not in header.shapes).lstrip('._')}"
    if not row.is_product or len(there) == 1 or any(f"{module}{ending}" in header.shapes for ending in row.tucker):
        return None
    left, right = (header.shapes[f"{module}{ending}"] for ending in there)
    if left[1:2] and left[1:2] == right[:1]:
        return None
    sides = " and ".join("x".join(map(str, shape)) or "a single number" for shape in (left, right))
    return f"has {' and '.join(ending.lstrip('._') for ending in there)} of {sides}, which don't fit together"


def _family(header: Header, *, is_network: bool) -> str | None:
    if all(header.shapes.get(name, ())[1:] == (width,) for name, width in WORDS.items()):
        return SDXL
    if not is_network:
        return SDXL if header.has("conditioner.embedders.1.") else None
    for pattern, family in _FAMILY_NAMES:
        if any(pattern.match(name) for name in header.shapes):
            return family
    sides = {side for name, shape in header.shapes.items() if _CROSS_ATTENTION.search(name) for side in shape[1:2]}
    return next((family for side, family in _CONTEXTS.items() if side in sides), None)
