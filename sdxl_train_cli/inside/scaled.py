"""Run one of sd-scripts' training scripts on a model of a small fraction of SDXL's width.

    python scaled.py SCRIPT [args...]      run in the sd-scripts checkout, by the training environment's Python
    python scaled.py --check               only say whether that is possible: {"scalable": true, "reason": null}

For the smoke test alone. Every block, layer and module of SDXL is there, so a LoRA finds its 722 modules; only the
widths are smaller. sd-scripts' files stay as they are: the figures are set in its modules once they are imported.
Relied upon, as they are in v0.10.1 and v0.11.1:

- library/sdxl_original_unet.py: MODEL_CHANNELS, TIME_EMBED_DIM, ADM_IN_CHANNELS, CONTEXT_DIM, Transformer2DModel
- library/sdxl_model_util.py: the name CLIPTextConfig, by which it describes both text encoders
- library/model_util.py: VAE_PARAMS_CH

Exit code 86: this sd-scripts has moved one of them, use the full size.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import runpy
import sys
from pathlib import Path
from typing import Any

CANNOT_SCALE = 86

# 32 is the least that upstream's group norms of 32 groups and attention heads of 64 channels allow.
CHANNELS = 32
TEXT_WIDTH = 64
# The tokens of the tokenizers that tiny_sdxl.py writes: 256 bytes, each within a word or at its end, start and end.
VOCABULARY = 514
# What of SDXL's vector conditioning is not the pooled text: three pairs of sizes, 256 numbers for each side.
SIZE_EMBEDDING = 6 * 256
TEXT_ENCODERS = 2

U_NET = {
    "MODEL_CHANNELS": CHANNELS,
    "TIME_EMBED_DIM": 4 * CHANNELS,
    "CONTEXT_DIM": TEXT_ENCODERS * TEXT_WIDTH,
    "ADM_IN_CHANNELS": TEXT_WIDTH + SIZE_EMBEDDING,
}
VAE = {"VAE_PARAMS_CH": 32}
TEXT_ENCODER = {
    "vocab_size": VOCABULARY,
    "hidden_size": TEXT_WIDTH,
    "intermediate_size": 2 * TEXT_WIDTH,
    "num_attention_heads": 2,
    "projection_dim": TEXT_WIDTH,
}


class CannotScaleError(Exception):
    """This sd-scripts does not define a size where it is expected."""


def main(argv: list[str]) -> int:
    """Scale, then run the script in this process; or only report whether scaling is possible."""
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: scaled.py (--check | SCRIPT [args...])", file=sys.stderr)
        return 0 if argv else 2
    sys.path[0] = str(Path.cwd())  # where SCRIPT's own folder would stand if it were run directly
    if argv == ["--check"]:
        return check()
    try:
        scale()
    except CannotScaleError as error:
        print(error, file=sys.stderr)
        return CANNOT_SCALE
    # Tensors this small gain nothing from threads, and on a busy machine lose minutes waiting for one another.
    module("torch").set_num_threads(1)
    sys.argv = argv
    runpy.run_path(argv[0], run_name="__main__")
    return 0


def check() -> int:
    """Print whether this sd-scripts can be scaled, tested by building its small U-Net."""
    reason = None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            scale()
            prove()
    except CannotScaleError as error:
        reason = str(error)
    print(json.dumps({"scalable": reason is None, "reason": reason}))
    return 0


def scale() -> None:
    """Set the small sizes in sd-scripts' modules. CannotScaleError if one is missing."""
    unet = module("library.sdxl_original_unet")
    models = module("library.sdxl_model_util")
    vae = module("library.model_util")
    for holder, figures in ((unet, U_NET), (vae, VAE)):
        for name, figure in figures.items():
            found(holder, name)
            setattr(holder, name, figure)
    transformer = found(unet, "Transformer2DModel")
    transformer.__init__ = narrow(transformer.__init__)
    models.CLIPTextConfig = functools.partial(text_config, found(models, "CLIPTextConfig"))


def narrow(build: Any) -> Any:  # noqa: ANN401  a constructor of upstream's, typed by itself
    """Wrap a transformer block's constructor so that its context has the small text encoders' width."""

    @functools.wraps(build)
    def narrowed(*args: object, **kwargs: object) -> None:
        # The U-Net writes the width out at each call instead of using its CONTEXT_DIM.
        build(*args, **{**kwargs, "cross_attention_dim": U_NET["CONTEXT_DIM"]})

    return narrowed


def text_config(original: Any, **described: object) -> Any:  # noqa: ANN401  transformers is not known here
    """Describe a narrow text encoder. Its depth and everything else stay unchanged."""
    return original(**{**described, **TEXT_ENCODER})


def prove() -> None:
    """Build the U-Net on the meta device and check that the sizes were applied."""
    torch = module("torch")
    with torch.device("meta"):
        unet = found(module("library.sdxl_original_unet"), "SdxlUNet2DConditionModel")()
    # Its widest tensors: the feed-forward of the innermost blocks, eight times four times the base width.
    widest = max(max(weight.shape) for weight in unet.parameters())
    if widest != max(32 * CHANNELS, U_NET["ADM_IN_CHANNELS"]):
        raise CannotScaleError(f"library.sdxl_original_unet does not heed its figures (a side of {widest})")
    channels = found(module("library.model_util"), "create_vae_diffusers_config")()["block_out_channels"]
    if channels[0] != VAE["VAE_PARAMS_CH"]:
        raise CannotScaleError(f"library.model_util does not heed VAE_PARAMS_CH ({channels[0]})")


def module(name: str) -> Any:  # noqa: ANN401  a module of upstream's
    """Import a module, what it prints going to stderr."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except ImportError as error:
        raise CannotScaleError(f"this sd-scripts cannot be scaled down: {error}") from error


def found(holder: Any, name: str) -> Any:  # noqa: ANN401  anything that a module holds
    """Return what a module holds under a name."""
    try:
        return getattr(holder, name)
    except AttributeError:
        raise CannotScaleError(f"this sd-scripts cannot be scaled down: no {name} in {holder.__name__}") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
