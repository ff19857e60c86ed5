"""Memory of each optimizer per trained weight: its state, and temporary memory during a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class OptimizerState:
    """Memory in addition to a weight and its gradient."""

    copies: float = 0.0
    """Tensors of the weight's shape and precision."""
    fixed_bytes: float = 0.0
    """Bytes per weight, whatever its precision."""
    passing_copies: float = 0.0
    """Temporary tensors during a step: torch's foreach implementations work on all weights at once."""
    is_paged: bool = False
    """Whether the state may be moved off the GPU."""
    is_factored: bool = False
    """Whether it keeps a row and a column for each matrix instead of all values."""

    def bytes_per_weight(self, weight_bytes: float) -> float:
        """Bytes of state per weight, without factored state."""
        return self.copies * weight_bytes + self.fixed_bytes


# Two states of a byte each, and for every 256 values a float32 scale of each (bitsandbytes.optim.optimizer).
_TWO_IN_8_BIT = 2 * (1 + 4 / 256)
_ONE_IN_8_BIT = 1 + 4 / 256

STATES: Mapping[str, OptimizerState] = {
    # torch.optim
    "adamw": OptimizerState(copies=2, passing_copies=1),
    "adam": OptimizerState(copies=2, passing_copies=1),
    "nadam": OptimizerState(copies=2, passing_copies=1),
    "radam": OptimizerState(copies=2, passing_copies=1),
    "adamax": OptimizerState(copies=2, passing_copies=1),
    "adadelta": OptimizerState(copies=2, passing_copies=1),
    "rprop": OptimizerState(copies=2, passing_copies=1),
    "adagrad": OptimizerState(copies=1, passing_copies=1),
    "asgd": OptimizerState(copies=1, passing_copies=1),
    "rmsprop": OptimizerState(copies=2, passing_copies=1),
    "sgd": OptimizerState(copies=1, passing_copies=1),
    "sgdnesterov": OptimizerState(copies=1, passing_copies=1),
    # bitsandbytes
    "adamw8bit": OptimizerState(fixed_bytes=_TWO_IN_8_BIT),
    "pagedadamw8bit": OptimizerState(fixed_bytes=_TWO_IN_8_BIT, is_paged=True),
    "pagedadamw": OptimizerState(fixed_bytes=8, is_paged=True),
    "pagedadamw32bit": OptimizerState(fixed_bytes=8, is_paged=True),
    "lion8bit": OptimizerState(fixed_bytes=_ONE_IN_8_BIT),
    "pagedlion8bit": OptimizerState(fixed_bytes=_ONE_IN_8_BIT, is_paged=True),
    "sgdnesterov8bit": OptimizerState(fixed_bytes=_ONE_IN_8_BIT),
    # lion_pytorch, transformers, prodigyopt, schedulefree
    "lion": OptimizerState(copies=1),
    "adafactor": OptimizerState(is_factored=True),
    "prodigy": OptimizerState(copies=4),
    "adamwschedulefree": OptimizerState(copies=2, passing_copies=1),
    "radamschedulefree": OptimizerState(copies=2, passing_copies=1),
    "sgdschedulefree": OptimizerState(copies=1, passing_copies=1),
    # dadaptation 3.2
    "dadaptation": OptimizerState(copies=3),
    "dadaptadampreprint": OptimizerState(copies=3),
    "dadaptadam": OptimizerState(copies=3),
    "dadaptadagrad": OptimizerState(copies=3),
    "dadaptadan": OptimizerState(copies=5),
    "dadaptadanip": OptimizerState(copies=5),
    "dadaptlion": OptimizerState(copies=2),
    "dadaptsgd": OptimizerState(copies=3),
}
"""By sd-scripts' name in lower case. Read from the packages that its requirements pin, and from dadaptation."""

UNKNOWN = OptimizerState(copies=2, passing_copies=1)
"""Same as AdamW, which most optimizers are derived from."""
UNKNOWN_LEAST = OptimizerState()
UNKNOWN_MOST = OptimizerState(copies=5, passing_copies=1)
"""Same as DAdaptAdan, the largest known."""


def factored_bytes(network_dim: int | None, *, conv: bool) -> float:
    """Bytes per weight of Adafactor's rows and columns, in float32 (transformers.optimization.Adafactor).

    A matrix of m x n keeps m + n values. SDXL's U-Net needs 0.0952 values per weight, mostly for its 3x3 convolutions,
    which keep two thirds as they factor the kernel's last two sides. A LoRA's matrices are as narrow as its dim, and
    their long side is 640 or more.
    """
    if network_dim is None:
        return 4 * 0.0952
    narrow = 4 * min(1.0, 1 / network_dim + 1 / 640)
    return max(narrow, 4 * 2 / 3) if conv else narrow
