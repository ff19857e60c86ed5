"""JSON Schema of presets for completion and validation in editors, generated from sd-scripts' own options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.rules import value_rules
from sdxl_train_cli.sdscripts import key_values, lycoris, optimizer
from sdxl_train_cli.sdscripts.options import Option, OptionTable

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
"""A number written as text: YAML 1.1 parses `1.0e-4` as a number, but not `1e-4`."""
_WHOLE = r"^[-+]?\d+$"
_PAIR = r"^[^=]+="

_EXAMPLES: Mapping[str, Sequence[str]] = {
    "lr_scheduler": optimizer.SCHEDULERS,
    "network_module": ("networks.lora", *lycoris.NATIVE, lycoris.MODULE),
    "optimizer_type": tuple(sorted({*optimizer.OWN_OPTIMIZERS, *optimizer.TORCH_OPTIMIZERS}, key=str.lower)),
}
"""Suggestions for options whose values upstream's parser does not list. Other values are accepted too."""

Schema = dict[str, object]


def build(table: OptionTable, kind: Kind | None, names: Mapping[Kind, Sequence[str]]) -> Schema:
    """Schema of one kind's presets, or of every kind's. `names` are the presets available to `extends`."""
    kinds = table.kinds if kind is None else [kind]
    tables = [table.of(one) for one in kinds]
    options = sorted({name for known in tables for name in known if name not in value_rules.OWNED})
    extended = sorted({name for one in kinds for name in names.get(one, ())})
    return {
        "$schema": DIALECT,
        "title": "sdxl-train preset" if kind is None else f"sdxl-train {kind.label} preset",
        "type": "object",
        "properties": {
            "extends": {
                "description": "The preset that this one builds on: a name, or a file relative to this one",
                "type": "string",
                "minLength": 1,
                "examples": extended,
            },
            "description": {"description": "One line for `sdxl-train presets list`", "type": "string", "minLength": 1},
            "group": {"description": "The heading of this preset in that list", "type": "string", "minLength": 1},
            **{name: _of_all([known[name] for known in tables if name in known]) for name in options},
        },
        "additionalProperties": False,
    }


def _of_all(options: Sequence[Option]) -> Schema:
    """One option's schema. If the training scripts differ, a union."""
    distinct = list({option.model_dump_json(exclude={"help", "default"}): option for option in options}.values())
    described = _described(options[0])
    if len(distinct) == 1:
        return {**described, **_taken(distinct[0])}
    return {**described, "anyOf": [_taken(option) for option in distinct]}


def _described(option: Option) -> Schema:
    words = _english(option.help)
    offered: Schema = {"examples": list(_EXAMPLES[option.name])} if option.name in _EXAMPLES else {}
    if option.default in (None, "") or (option.type == "switch" and option.default is False):
        return {"description": words, **offered} if words else offered
    default = list(option.default) if isinstance(option.default, tuple) else option.default
    return {"description": f"{words} (default: {default})".strip(), "default": default, **offered}


def _english(text: str) -> str:
    """Upstream's help is bilingual: English, then Japanese after a slash."""
    first, slash, rest = text.partition(" / ")
    return first if slash and not rest.isascii() else text


def _taken(option: Option) -> Schema:
    """Values that a preset may contain. null removes an inherited one."""
    if option.many:
        one = {"type": "string", "pattern": _PAIR} if option.name in key_values.OPTIONS else _one(option)
        return {"anyOf": [one, {"type": "array", "items": one}, {"type": "null"}]}
    if option.type == "str" and option.choices is None:  # resolution: [1024, 1024]
        return {"type": ["string", "number", "array", "null"], "items": {"type": ["string", "number"]}}
    return {"anyOf": [_one(option), {"type": "null"}]}


def _one(option: Option) -> Schema:
    if option.choices is not None:
        return {"enum": [choice for choice in option.choices if choice is not None]}
    if option.type == "switch":
        return {"type": "boolean"}
    if option.type == "str":
        return {"type": ["string", "number"]}
    number = "integer" if option.type == "int" else "number"
    pattern = _WHOLE if option.type == "int" else _NUMBER
    return {"type": [number, "string"], "pattern": pattern, **_bounds(option.name)}


def _bounds(name: str) -> Schema:
    low, high = value_rules.RANGES.get(name, (None, None))
    return {key: bound for key, bound in (("minimum", low), ("maximum", high)) if bound is not None}
