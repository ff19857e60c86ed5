"""Short names for points, which say what differs: cat-lr1e-4-dim32."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sdxl_train_cli.records import record

_SHORT: Mapping[str, str] = {
    "learning_rate": "lr",
    "unet_lr": "unet",
    "text_encoder_lr": "te",
    "network_dim": "dim",
    "network_alpha": "alpha",
    "network_dropout": "dropout",
    "network_args": "",
    "optimizer_type": "",
    "optimizer_args": "",
    "lr_scheduler": "",
    "lr_warmup_steps": "warmup",
    "max_train_steps": "steps",
    "max_train_epochs": "epochs",
    "train_batch_size": "batch",
    "gradient_accumulation_steps": "accum",
    "min_snr_gamma": "gamma",
    "noise_offset": "offset",
    "mixed_precision": "",
    "resolution": "",
}
"""Where a value says by itself what it is, nothing stands before it."""
_LONGEST = 24
"""Characters of one value."""


def of(base: str, points: Sequence[Mapping[str, str]], taken: Sequence[str] = ()) -> list[str]:
    """A name for each point, all different, and none that is taken. Valid on every file system."""
    found = list(taken)
    for settings in points:
        plain = _cut("-".join([base, *(_part(option, value) for option, value in settings.items())]), "")
        name, number = plain, 2
        while name.lower() in {other.lower() for other in found}:
            name, number = _cut(plain, f"-{number}"), number + 1
        found.append(name)
    return found[len(taken) :]


def _part(option: str, value: str) -> str:
    clean = re.sub(r"[^\w.+-]+", "-", value, flags=re.ASCII).lstrip(".")[:_LONGEST].rstrip("-.") or "none"
    return f"{_SHORT.get(option, option.replace('_', ''))}{clean}"


def _cut(name: str, end: str) -> str:
    """At most as long as a run's name may be, in bytes."""
    room = record.LONGEST_NAME - len(end.encode())
    return name.encode()[:room].decode(errors="ignore").rstrip("-.") + end
