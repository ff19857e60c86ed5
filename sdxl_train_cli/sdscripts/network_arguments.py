"""Check network_args for LyCORIS and similar networks for invalid values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath, PureWindowsPath

from sdxl_train_cli import formatting
from sdxl_train_cli.sdscripts import lycoris

DEFAULT_DIM = 4
"""Default of networks if network_dim is not set (networks/lora.py: create_network). The parser has none."""
KEPT_WITH_WEIGHTS = frozenset(
    {"down_lr_weight", "mid_lr_weight", "up_lr_weight", "block_lr_zero_threshold", "conv_dim", "conv_alpha"}
    | {"algo", "preset"}
)
"""What may stand beside dim_from_weights: it counts, or says the kind (networks/lora.py:
create_network_from_weights)."""
_SHARES = frozenset({"dropout", "rank_dropout", "module_dropout"})
_NUMBERS = frozenset({"conv_alpha", "constraint", "constrain"})
NAMES = (
    lycoris.SWITCHES
    | KEPT_WITH_WEIGHTS
    | _SHARES
    | _NUMBERS
    | {"factor", "block_size"}
    | {"block_dims", "block_alphas"}
)
"""Arguments that networks take, LyCORIS' or sd-scripts' own. Not all: a module may take others."""


def complaints(arguments: Mapping[str, str], dim: float | None) -> Iterator[str]:
    """Yield the end of a sentence for each argument that LyCORIS would fail on or misinterpret."""
    yield from _algorithm(arguments)
    yield from _preset(arguments)
    yield from _sizes(arguments, dim)
    for key, text in arguments.items():
        if key in lycoris.SWITCHES and lycoris.parse_switch(text) is None:
            yield f"has '{key}={text}', which is a switch: True or False"
        elif key in _SHARES and not _is_share(text):
            yield f"has '{key}={text}', which has to be between 0 and 1"
        elif key in _NUMBERS or key.startswith("loraplus_"):
            yield from _number(key, text)
    yield from _contradictions(arguments)


def _algorithm(arguments: Mapping[str, str]) -> Iterator[str]:
    algo = arguments.get("algo", "lora").lower()
    if algo in lycoris.BROKEN_ALGORITHMS:
        yield f"has 'algo={algo}', which LyCORIS lists but can't train"
    elif algo not in lycoris.ALGORITHMS:
        known = formatting.suggestion(algo, sorted(lycoris.ALGORITHMS), 1) or ", ".join(sorted(lycoris.ALGORITHMS))
        yield f"has 'algo={algo}', which LyCORIS does not know: {known}"


def _preset(arguments: Mapping[str, str]) -> Iterator[str]:
    preset = arguments.get("preset")
    if preset is None or preset in lycoris.PRESETS:
        return
    if not preset.endswith(".toml"):
        yield (
            f"has 'preset={preset}', which is not one of LyCORIS' presets: "
            f"{', '.join(lycoris.PRESETS)}, or a .toml file"
        )
    elif not (PurePosixPath(preset).is_absolute() or PureWindowsPath(preset).is_absolute()):
        yield f"has 'preset={preset}', which would be looked up in sd-scripts' folder: give the full path"


def _sizes(arguments: Mapping[str, str], dim: float | None) -> Iterator[str]:
    conv_dim, factor = arguments.get("conv_dim", "1"), arguments.get("factor", "-1")
    if not conv_dim.strip().isdecimal():
        yield f"has 'conv_dim={conv_dim}', which has to be a whole number, 0 for no convolutions"
    if factor.strip() != "-1" and not (factor.strip().isdecimal() and int(factor) > 0):
        yield f"has 'factor={factor}', which has to be a whole number above 0, or -1 for nearly equal halves"
    size = arguments.get("block_size", "4").strip()
    if not size.isdecimal() or int(size) < 1:
        yield f"has 'block_size={size}', which has to be a whole number above 0"
    elif arguments.get("algo", "").lower() == "dylora" and (dim or DEFAULT_DIM) % int(size):
        yield f"has algo=dylora, whose dim has to be a multiple of block_size, {size}"


def _contradictions(arguments: Mapping[str, str]) -> Iterator[str]:
    """Two names of one switch with different values."""
    wanted: dict[str, tuple[str, bool | None]] = {}
    for key, text in arguments.items():
        name = lycoris.TURNED.get(key) or lycoris.RENAMED.get(key) or key
        if name not in lycoris.SWITCHES:
            continue
        on = lycoris.parse_switch(text)
        meant = (not on) if key in lycoris.TURNED and on is not None else on
        other, before = wanted.setdefault(name, (key, meant))
        if before is not meant:
            yield f"has {other} and {key}, which contradict each other"


def _number(key: str, text: str) -> Iterator[str]:
    try:
        if float(text) >= 0:
            return
    except ValueError:
        pass
    yield f"has '{key}={text}', which has to be a number, 0 or more"


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
