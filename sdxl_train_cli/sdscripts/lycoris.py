"""LoHa, LoKr and the rest of LyCORIS: what their arguments mean, and the words that make the installed module mean it.

Read from lycoris/kohya.py of LyCORIS 3.2.0.post2, and from networks/loha.py and networks/lokr.py of newer sd-scripts.
LyCORIS takes every text but "false" for true, `decompose_both` even that, and turns `disable_conv_cp` round.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Recipe, Setting

MODULE = "lycoris.kohya"
NATIVE: Mapping[str, str] = {"networks.loha": "loha", "networks.lokr": "lokr"}
"""sd-scripts' own modules, by the algorithm that they train."""

ALGORITHMS = frozenset({"lora", "locon", "loha", "lokr", "dylora", "glora", "full", "diag-oft", "boft"})
BROKEN_ALGORITHMS = frozenset({"ia3"})
"""Named by LyCORIS and not trained by it."""
PLAIN = frozenset({"lora", "locon"})
"""Two names of one algorithm."""

PRESETS: Mapping[str, frozenset[str]] = {
    "full": frozenset({"attention", "transformer", "resnet", "conv", "text attention", "text"}),
    "full-lin": frozenset({"attention", "transformer", "resnet", "text attention", "text"}),
    "attn-mlp": frozenset({"attention", "transformer", "text attention", "text"}),
    "attn-only": frozenset({"attention", "text attention"}),
    "unet-only": frozenset({"attention", "transformer", "resnet", "conv"}),
    "unet-transformer-only": frozenset({"attention", "transformer"}),
    "unet-convblock-only": frozenset({"resnet", "conv"}),
}
"""LyCORIS' own presets, by the parts of SDXL that they reach (`network_size.LAYERS`)."""
WITHOUT_CONVOLUTIONS = "attn-mlp"
"""What networks.lora, networks.loha and networks.lokr reach while conv_dim is left out."""

RENAMED: Mapping[str, str] = {"use_cp": "use_tucker", "use_conv_cp": "use_tucker", "constrain": "constraint"}
"""Deprecated names. One that is there makes LyCORIS disregard the name that goes for it."""
TURNED: Mapping[str, str] = {"disable_conv_cp": "use_tucker"}
"""Deprecated names that mean the opposite."""
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
"""What LyCORIS looks for in network_args; it passes over everything else in silence."""

_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})


def algorithm(recipe: Recipe) -> str:
    """What LyCORIS or one of sd-scripts' modules of its kind is told to train; empty for any other module."""
    module = str(recipe.get("network_module") or "")
    if module == MODULE:
        return recipe.arguments("network_args").get("algo", "").lower() or "lora"
    return NATIVE.get(module, "")


def reached(arguments: Mapping[str, str]) -> frozenset[str] | None:
    """The parts of SDXL that LyCORIS reaches, or None where a file of the user's says so."""
    parts = PRESETS.get(arguments.get("preset", "full"))
    none = arguments.get("conv_dim", "").strip() == "0"
    return parts - {"conv"} if parts is not None and none else parts


def widens(arguments: Mapping[str, str]) -> bool:
    """Whether LyCORIS trains more than the layers of a plain LoRA; a preset in a file is taken to."""
    parts = reached(arguments)
    return parts is None or not parts.isdisjoint({"resnet", "conv"})


def reaches_convolutions(recipe: Recipe) -> bool:
    """The same of a recipe."""
    return widens(recipe.arguments("network_args"))


def switched_on(text: str) -> bool | None:
    """What a person means who writes this for a switch; None where it means neither."""
    word = text.strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def resolve(recipe: Recipe, native: Collection[str]) -> Recipe:
    """The recipe with the module that is there, and arguments that say to it what they mean.

    `native` are the modules of NATIVE that the installed sd-scripts has; LyCORIS stands in for the others. Raises
    RecipeError for arguments that LyCORIS has not got.
    """
    module = str(recipe.get("network_module") or "")
    if module not in {MODULE, *NATIVE}:
        return recipe
    arguments = recipe.arguments("network_args")
    stands_in = module in NATIVE and module not in native
    if stands_in:
        arguments = _in_lycoris_words(recipe, module, arguments)
    written = tuple(f"{key}={text}" for key, text in _said(arguments))
    place = recipe.origin("network_args") or recipe.origin("network_module") or Origin()
    note = recipe.settings["network_args"].note if "network_args" in recipe.settings else ""
    changes = {"network_args": Setting(value=written, origin=place, note=note) if written else None}
    if stands_in:
        changes["network_module"] = Setting(value=MODULE, origin=recipe.origin("network_module") or Origin())
    return recipe.replaced(changes)


def _in_lycoris_words(recipe: Recipe, module: str, arguments: Mapping[str, str]) -> dict[str, str]:
    """The same network: LyCORIS has other defaults, above all dim and alpha of the linear layers for convolutions."""
    lacking = sorted((ONLY_NATIVE - {"verbose"}) & arguments.keys())
    if lacking:
        message = (
            f"{', '.join(lacking)} in network_args: only {module} supports that, and this sd-scripts does not have it"
        )
        raise RecipeError(recipe.problem("network_args", message, "set up a newer sd-scripts: --ref"))
    kept = {key: text for key, text in arguments.items() if key not in ONLY_NATIVE}
    reach = {"conv_alpha": "1"} if "conv_dim" in arguments else {"preset": WITHOUT_CONVOLUTIONS}
    return {"algo": NATIVE[module], **reach, **kept}


def _said(arguments: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each argument once, by its present name; a switch that is off is left out, where leaving it out means off."""
    seen = set[str]()
    for key, text in arguments.items():
        name = TURNED.get(key) or RENAMED.get(key) or key
        if name in seen:
            continue
        seen.add(name)
        on = switched_on(text) if name in SWITCHES else None
        if on is None:
            yield name, text
        elif on is not (key in TURNED):
            yield name, "True"
        elif name in ON_BY_DEFAULT:
            yield name, "False"
