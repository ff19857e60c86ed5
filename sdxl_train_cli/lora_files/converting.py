"""Give a LoRA the names of another program, and a file another precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum

from sdxl_train_cli import formatting
from sdxl_train_cli.errors import ModelError, UsageError
from sdxl_train_cli.inspection import model_file
from sdxl_train_cli.lora_files import alphas, handed, module_names, rewriting
from sdxl_train_cli.lora_files.alphas import ALPHA, PEFT_PREFIX, Alphas
from sdxl_train_cli.lora_files.handed import HandedFile
from sdxl_train_cli.lora_files.plans import AssemblyPlan, TensorPart
from sdxl_train_cli.sdscripts import model_spec

_SHOWN = 3


class Naming(str, Enum):
    """Whose names a LoRA's tensors have."""

    KOHYA = "kohya"
    DIFFUSERS = "diffusers"
    COMFYUI = "comfyui"


_ENDINGS = {
    Naming.KOHYA: (".lora_up.weight", ".lora_down.weight"),
    Naming.DIFFUSERS: (".lora_B.weight", ".lora_A.weight"),
    Naming.COMFYUI: (".lora_up.weight", ".lora_down.weight"),
}
"""Up and down, as each program writes them. diffusers has no tensor for alpha: it is multiplied into up."""
_READ = (
    (".lora_up.weight", ".lora_down.weight"), (".lora_B.weight", ".lora_A.weight"),
    (".lora.up.weight", ".lora.down.weight"), ("_lora.up.weight", "_lora.down.weight"),
    (".lora_linear_layer.up.weight", ".lora_linear_layer.down.weight"),
)  # fmt: skip
"""The same, as they may be found."""
_IMPLEMENTATIONS = {Naming.DIFFUSERS: model_spec.DIFFUSERS, Naming.COMFYUI: model_spec.COMFYUI,
                    Naming.KOHYA: model_spec.STABILITY_AI}  # fmt: skip


def require_naming(typed: str) -> Naming:
    """The naming that was typed. UsageError for another word."""
    words = {"comfy": Naming.COMFYUI, "peft": Naming.DIFFUSERS, "a1111": Naming.KOHYA, "forge": Naming.KOHYA}
    found = words.get(typed.lower()) or next((one for one in Naming if one.value == typed.lower()), None)
    if found is None:
        raise UsageError(f"--to takes kohya, diffusers or comfyui, not '{formatting.cut(typed)}'", "--to kohya")
    return found


def plan_names(found: HandedFile, to: Naming, precision: str | None) -> AssemblyPlan:
    """The plan of the same LoRA under other names. ModelError for layers that nobody knows."""
    handed.require_sdxl(found)
    handed.require_factors(
        found, "get other names", "train it as a LoRA or LoCon for programs that need their own names"
    )
    known, told = _by_any_name(), Alphas(found)
    tensors: dict[str, list[TensorPart]] = {}
    numbers: dict[str, float] = {}
    ranks: dict[str, int] = {}
    pairs = list(_pairs(found))
    _require_known(found, [module for module, _, _ in pairs if _plain(module) not in known])
    for module, up, down in pairs:
        name = getattr(known[_plain(module)], to.value)
        ranks[name] = rank = found.header.shapes[down][0]
        alpha = told.of(module, rank)
        factor = alpha / rank if to is Naming.DIFFUSERS else 1.0
        tensors[name + _ENDINGS[to][0]] = [TensorPart(0, up, factor)]
        tensors[name + _ENDINGS[to][1]] = [TensorPart(0, down)]
        if to is not Naming.DIFFUSERS:
            numbers[name + ALPHA] = alpha
    return AssemblyPlan([found.path], tensors, {}, numbers, _metadata(found, to, ranks), precision)


def _require_known(found: HandedFile, strange: Sequence[str]) -> None:
    if strange:
        one_or_more = "1 of its layers is none" if len(strange) == 1 else f"{len(strange)} of its layers are none"
        raise ModelError(
            f"{one_or_more} of SDXL's, such as {formatting.some(strange, _SHOWN)}",
            f"sdxl-train inspect {formatting.shell_word(found.path)}",
        )


def plan_precision(found: HandedFile, precision: str) -> AssemblyPlan:
    """The plan of the same file in another precision."""
    tensors = {name: [TensorPart(0, name)] for name in found.header.shapes}
    return AssemblyPlan([found.path], tensors, {}, {}, _without_stale_hashes(found.model.metadata), precision)


def _by_any_name() -> Mapping[str, module_names.LayerNames]:
    known: dict[str, module_names.LayerNames] = {}
    for layer in module_names.layers():
        parts = layer.diffusers.partition(".")
        also = f"lora_unet_{module_names.flat(parts[2])}" if parts[0] == "unet" else layer.kohya
        bare = layer.diffusers.removeprefix("unet.")  # as a U-Net saved by itself has them
        for name in (
            layer.kohya,
            layer.comfyui,
            layer.diffusers,
            bare,
            also,
            layer.comfyui.replace(".transformer.", "."),
        ):
            known[name] = layer
    return known


def _plain(module: str) -> str:
    """A module's name without what peft, and diffusers' attention processors of old, put into it."""
    bare = module.removeprefix(PEFT_PREFIX)
    return bare.replace(".processor", "") + (".0" if bare.endswith(".processor.to_out") else "")


def _pairs(found: HandedFile) -> Iterator[tuple[str, str, str]]:
    """Each module with its two factors."""
    for name in found.header.shapes:
        for up, down in _READ:
            module = name.removesuffix(down)
            if module != name and module + up in found.header.shapes:
                yield module, module + up, name
                break


def _metadata(found: HandedFile, to: Naming, ranks: Mapping[str, int]) -> dict[str, str]:
    metadata = _without_stale_hashes(found.model.metadata)
    metadata.pop(alphas.METADATA, None)
    told = alphas.adapter_metadata(ranks) if to is Naming.DIFFUSERS else None
    if told is not None:
        metadata[alphas.METADATA] = told
    if model_spec.IMPLEMENTATION in metadata:
        metadata[model_spec.IMPLEMENTATION] = _IMPLEMENTATIONS[to]
    if to is Naming.KOHYA and "ss_base_model_version" not in metadata and found.model.family == model_file.SDXL:
        metadata["ss_base_model_version"] = "sdxl_base_v1-0"
    return metadata


def _without_stale_hashes(metadata: Mapping[str, str]) -> dict[str, str]:
    """What stays true of other bytes; hashes of the tensors are made anew."""
    return {key: text for key, text in metadata.items() if key != rewriting.LEGACY_HASH}
