"""What a training step costs, so that samples and validation can be told in steps."""

from __future__ import annotations

from sdxl_train_cli.recipe import Recipe


def forward_passes(recipe: Recipe) -> int:
    """Forward passes of the U-Net that a step takes as long as, for each picture.

    One, the backward pass's two, and one more to recompute activations.
    """
    return 4 if recipe.is_on("gradient_checkpointing") else 3


_TIMESTEPS = 4
"""That sd-scripts validates each picture with (NUM_VALIDATION_TIMESTEPS)."""


def validation_passes(pictures: int) -> int:
    """Forward passes of one validation, which computes no gradients."""
    return _TIMESTEPS * pictures
