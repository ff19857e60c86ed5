"""Put arguments of the optimizer or network that stand among free options where sd-scripts reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sdxl_train_cli.importers import networks
from sdxl_train_cli.importers.foreign_settings import ForeignKey, KeyFate, computed, shown
from sdxl_train_cli.recipe import Kind, Value
from sdxl_train_cli.sdscripts import lycoris, optimizer
from sdxl_train_cli.sdscripts.options import OptionTable

_OF_NETWORKS = lycoris.SWITCHES | {
    "algo", "preset", "conv_dim", "conv_alpha", "rank_dropout", "module_dropout", "factor", "constraint", "block_size",
    "loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio", "block_dims", "block_alphas",
    "conv_block_dims", "conv_block_alphas", "down_lr_weight", "mid_lr_weight", "up_lr_weight",
}  # fmt: skip
"""Arguments that networks/lora.py: create_network and LyCORIS take, and that no optimizer has."""


def put_right(entries: Sequence[ForeignKey], table: OptionTable, *, is_full: bool) -> list[ForeignKey]:
    """The entries with such arguments in optimizer_args and network_args."""
    options = {name for kind in Kind for name in table.of(kind)}
    given = {entry.option: entry.value for entry in entries if entry.option is not None}
    name = str(given.get("optimizer_type") or optimizer.DEFAULT)
    owners: Mapping[str, tuple[str, object]] = {
        **({} if is_full else dict.fromkeys(_OF_NETWORKS, ("network_args", "the network"))),
        **dict.fromkeys(table.optimizers.get(name.lower()) or {}, ("optimizer_args", name)),
    }
    found, moved = list[ForeignKey](), dict[str, list[str]]()
    for entry in entries:
        argument = entry.option or ""
        if argument in options or argument not in owners or entry.value is None:
            found.append(entry)
            continue
        target, owner = owners[argument]
        part = f"{argument}={_text(entry.value)}"
        moved.setdefault(target, []).append(part)
        found.append(entry.dropped(f"{target} {shown(part)}: it is an argument of {owner}", KeyFate.RENAMED))
    for target, parts in moved.items():
        found = _added(found, target, parts, given.get(target))
    return found


def _added(entries: list[ForeignKey], target: str, parts: Sequence[str], held: Value | None) -> list[ForeignKey]:
    whole = networks.format_pairs({**networks.parse_pairs(tuple(parts)), **networks.parse_pairs(held)})
    if any(entry.option == target for entry in entries):
        return [
            replace(entry, what=KeyFate.COMPUTED, value=whole) if entry.option == target else entry for entry in entries
        ]
    return [*entries, computed(f"({target})", " ".join(parts), target, whole, "arguments that stood among the options")]


def _text(value: Value) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
