"""Import the network of a OneTrainer JSON: its type, arguments and layers.

Follows modules/module/LoRAModule.py and modelSetup/BaseStableDiffusionXLSetup.py of Nerogar/OneTrainer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.importers import values
from sdxl_train_cli.importers.foreign_settings import ForeignKey, KeyFate, computed, ignored, shown, unknown
from sdxl_train_cli.sdscripts import lycoris

DEFAULTS: Mapping[str, object] = {"lora_rank": 16, "lora_alpha": 1.0}
_ALGOS: Mapping[str, str] = {"LOHA": "loha", "LOKR": "lokr"}
_ARGUMENTS: Mapping[str, str] = {
    "lokr_dim": "network_dim",
    "lokr_decompose_both": "decompose_both",
    "lokr_decompose_factor": "factor",
    "lokr_use_tucker": "use_tucker",
    "lokr_weight_decompose": "dora_wd",
    "lokr_full_matrix": "full_matrix",
    "lora_decompose": "dora_wd",
}
_FILTERS = ("layer_filter", "lora_layers")
_PRESETS = ("layer_filter_preset", "lora_layer_preset")
"""Current and former keys. The form fills the filter in from the preset."""
_REGEX = ("layer_filter_regex", "lora_layers_regex")
_BY_FILTER: Mapping[str, str] = {"": "full", "attentions": "attn-mlp", "attn": "attn-only"}
KEYS = frozenset({"peft_type", *_ARGUMENTS, *_FILTERS, *_PRESETS, *_REGEX})


def read(found: Mapping[str, object], where: str) -> Iterator[ForeignKey]:
    """Yield the network's options. RecipeError for an unknown network type."""
    kind = str(found.get("peft_type") or "LORA").upper()
    if kind not in {"LORA", *_ALGOS}:
        raise RecipeError(Problem(f"trains a network of the type {shown(kind)}, which is unknown here", None, where))
    words = [f"algo={_ALGOS[kind]}"] if kind in _ALGOS else []
    for key in _ARGUMENTS:
        if found.get(key) is not None:
            yield _argument(key, found[key], kind, words)
    words = ["algo=lora", *words] if words and kind == "LORA" else words
    layers = _layers(found)
    told = list(_reach(found, layers, words))
    yield from told
    module = lycoris.MODULE if any(word.startswith("algo=") for word in words) else "networks.lora"
    key = "peft_type" if "peft_type" in found else "(peft_type)"
    yield computed(key, kind, "network_module", module, "")
    yield computed(key, kind, "network_args", tuple(words) or None, "")


def read_without_network(found: Mapping[str, object]) -> Iterator[ForeignKey]:
    """Yield the same keys, ignored, for a file that trains no network."""
    for key in sorted(KEYS & found.keys()):
        if key in {*_FILTERS, *_PRESETS} and _layers(found) != "full":
            yield ignored(key, found[key], "sd-scripts trains every layer of the U-Net")
        else:
            yield ignored(key, found[key], "is for networks only")


def _argument(key: str, raw: object, kind: str, words: list[str]) -> ForeignKey:
    """What became of an argument, which is appended to `words`."""
    belongs = key.startswith("lokr_") == (kind == "LOKR")
    if not belongs or raw is False or raw == -1:
        return ignored(key, raw, "off" if belongs else f"is not for the type {kind}")
    if key == "lokr_dim":
        return computed(key, raw, "network_dim", values.number(raw), "")
    if values.number(raw) is None and raw is not True:
        return unknown(key, raw, "is not a plain value")
    words.append(f"{_ARGUMENTS[key]}={raw}")
    return ForeignKey(key, shown(raw), KeyFate.RENAMED, note=f"network_args {words[-1]}")


def _layers(found: Mapping[str, object]) -> str:
    """Name of the layer preset. Empty if a custom filter selects the layers."""
    preset = next((str(found[key]) for key in _PRESETS if found.get(key)), "")
    typed = next((str(found[key]).strip() for key in _FILTERS if found.get(key)), "")
    return preset if preset in _BY_FILTER.values() else _BY_FILTER.get(typed, "")


def _reach(found: Mapping[str, object], layers: str, words: list[str]) -> Iterator[ForeignKey]:
    """The layers that the network reaches, appended to `words`: sd-scripts' LoRA omits convolutions."""
    is_lycoris = any(word.startswith("algo=") for word in words)
    note = f"network_args preset={layers}"
    if not layers:
        note = "neither sd-scripts nor LyCORIS offers this choice of layers: all layers they reach are trained"
    elif layers == "full" and is_lycoris:
        note = "every layer, as LyCORIS does"
    elif layers == "full":
        dim, alpha = (values.number(found.get(key, DEFAULTS[key])) or 1 for key in ("lora_rank", "lora_alpha"))
        words += [f"conv_dim={int(dim)}", f"conv_alpha={alpha}"]
        note = f"every layer, convolutions too: network_args {' '.join(words)}"
    elif layers == "attn-mlp" and not is_lycoris:
        note = "the layers that sd-scripts' LoRA trains"
    else:
        words[:] = [*(words or ["algo=lora"]), f"preset={layers}"]
    keys = [key for key in (*_PRESETS, *_FILTERS, *_REGEX) if key in found]
    what = KeyFate.COMPUTED if layers else KeyFate.IGNORED
    if not keys:
        yield ForeignKey("(layer_filter_preset)", layers, what, note=f"{note} (not in the file: OneTrainer's default)")
    for key in keys:
        yield ForeignKey(key, shown(found[key]), what, note=note)
