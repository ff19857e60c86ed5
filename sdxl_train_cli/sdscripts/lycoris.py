"""LyCORIS (LoHa, LoKr and others): what its arguments mean, and how to phrase them for the installed module.

Based on lycoris/kohya.py of LyCORIS 3.2.0.post2, and on networks/loha.py and networks/lokr.py of newer sd-scripts.
LyCORIS reads every text but "false" as true, `decompose_both` even that, and inverts `disable_conv_cp`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Recipe, Setting

MODULE = "lycoris.kohya"
NATIVE: Mapping[str, str] = {"networks.loha": "loha", "networks.lokr": "lokr"}
"""sd-scripts' own modules, with the algorithm that each trains."""

ALGORITHMS = frozenset({"lora", "locon", "loha", "lokr", "dylora", "glora", "full", "diag-oft", "boft"})
BROKEN_ALGORITHMS = frozenset({"ia3"})
"""Algorithms that LyCORIS lists but can't train."""
PLAIN = frozenset({"lora", "locon"})
"""Two names of the same algorithm."""

PRESETS: Mapping[str, frozenset[str]] = {
    "full": frozenset({"attention", "transformer", "resnet", "conv", "text attention", "text"}),
    "full-lin": frozenset({"attention", "transformer", "resnet", "text attention", "text"}),
    "attn-mlp": frozenset({"attention", "transformer", "text attention", "text"}),
    "attn-only": frozenset({"attention", "text attention"}),
    "unet-only": frozenset({"attention", "transformer", "resnet", "conv"}),
    "unet-transformer-only": frozenset({"attention", "transformer"}),
    "unet-convblock-only": frozenset({"resnet", "conv"}),
}
"""LyCORIS' own presets, with the parts of SDXL that they reach (`network_size.LAYERS`)."""
WITHOUT_CONVOLUTIONS = "attn-mlp"
"""The preset that matches networks.lora, networks.loha and networks.lokr without conv_dim."""

RENAMED: Mapping[str, str] = {"use_cp": "use_tucker", "use_conv_cp": "use_tucker", "constrain": "constraint"}
"""Deprecated names. If one is present, LyCORIS ignores its current name."""
TURNED: Mapping[str, str] = {"disable_conv_cp": "use_tucker"}
"""Deprecated names with the opposite meaning."""
ON_BY_DEFAULT = frozenset({"wd_on_output"})
SWITCHES = frozenset(
    {
        "bypass_mode",
        "decompose_both",
        "dora_wd",
        "full_matrix",
        "rescaled",
        "rs_lora",
        "train_norm",
        "train_t5xxl",
        "unbalanced_factorization",
        "use_scalar",
        "use_tucker",
        "verbose",
        *ON_BY_DEFAULT,
        *(name for name in RENAMED if name != "constrain"),
        *TURNED,
    }
)
ONLY_NATIVE = frozenset({"exclude_patterns", "include_patterns", "network_reg_dims", "network_reg_lrs", "verbose"})
_LORAPLUS = frozenset({"loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio"})
_BOTH = frozenset({"conv_dim", "conv_alpha", "rank_dropout", "module_dropout", "factor", "use_tucker", *_LORAPLUS})
NATIVE_ARGUMENTS = _BOTH | ONLY_NATIVE
ARGUMENTS = _BOTH | SWITCHES - ONLY_NATIVE | {"algo", "preset", "dropout", "block_size", "constraint", "constrain"}
"""Arguments that LyCORIS reads from network_args. It silently ignores all others."""

_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})


def algorithm(recipe: Recipe) -> str:
    """The algorithm of LyCORIS or of sd-scripts' equivalent modules. Empty for any other module."""
    module = str(recipe.get("network_module") or "")
    if module == MODULE:
        return recipe.arguments("network_args").get("algo", "").lower() or "lora"
    return NATIVE.get(module, "")


def reached_parts(arguments: Mapping[str, str]) -> frozenset[str] | None:
    """Parts of SDXL that LyCORIS reaches. None if a preset file decides."""
    parts = PRESETS.get(arguments.get("preset", "full"))
    none = arguments.get("conv_dim", "").strip() == "0"
    return parts - {"conv"} if parts is not None and none else parts


def reaches_more_than_lora(arguments: Mapping[str, str]) -> bool:
    """Whether LyCORIS trains more layers than a plain LoRA. A preset file is assumed to."""
    parts = reached_parts(arguments)
    return parts is None or not parts.isdisjoint({"resnet", "conv"})


def reaches_convolutions(recipe: Recipe) -> bool:
    """Whether a recipe trains more layers than a plain LoRA."""
    return reaches_more_than_lora(recipe.arguments("network_args"))


def parse_switch(text: str) -> bool | None:
    """The intended value of a switch. None if unclear."""
    word = text.strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def resolve(recipe: Recipe, native: Collection[str]) -> Recipe:
    """The recipe for the available module, with arguments that mean to it what the user intended.

    `native` are the modules of NATIVE that the installed sd-scripts has. LyCORIS replaces the others. Raises
    RecipeError for arguments that LyCORIS does not have.
    """
    module = str(recipe.get("network_module") or "")
    if module not in {MODULE, *NATIVE}:
        return recipe
    arguments = recipe.arguments("network_args")
    stands_in = module in NATIVE and module not in native
    if stands_in:
        arguments = _lycoris_arguments(recipe, module, arguments)
    written = tuple(f"{key}={text}" for key, text in _normalized(arguments))
    place = recipe.origin("network_args") or recipe.origin("network_module") or Origin()
    note = recipe.settings["network_args"].note if "network_args" in recipe.settings else ""
    changes = {"network_args": Setting(value=written, origin=place, note=note) if written else None}
    if stands_in:
        changes["network_module"] = Setting(value=MODULE, origin=recipe.origin("network_module") or Origin())
    return recipe.replaced(changes)


def _lycoris_arguments(recipe: Recipe, module: str, arguments: Mapping[str, str]) -> dict[str, str]:
    """Arguments for an equivalent network. LyCORIS' defaults differ, above all dim and alpha of convolutions."""
    lacking = sorted((ONLY_NATIVE - {"verbose"}) & arguments.keys())
    if lacking:
        message = (
            f"{', '.join(lacking)} in network_args: only {module} supports that, and this sd-scripts does not have it"
        )
        raise RecipeError(recipe.problem("network_args", message, "set up a newer sd-scripts: --ref"))
    kept = {key: text for key, text in arguments.items() if key not in ONLY_NATIVE}
    reach = {"conv_alpha": "1"} if "conv_dim" in arguments else {"preset": WITHOUT_CONVOLUTIONS}
    return {"algo": NATIVE[module], **reach, **kept}


def _normalized(arguments: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each argument once, by its current name. A switch that is off is left out where absence means off."""
    seen = set[str]()
    for key, text in arguments.items():
        name = TURNED.get(key) or RENAMED.get(key) or key
        if name in seen:
            continue
        seen.add(name)
        on = parse_switch(text) if name in SWITCHES else None
        if on is None:
            yield name, text
        elif on is not (key in TURNED):
            yield name, "True"
        elif name in ON_BY_DEFAULT:
            yield name, "False"
