"""Run sd-scripts' full training script so that the checkpoints it saves say what they predict.

    python marked.py NAME[,NAME] SCRIPT [args...] run in the sd-scripts checkout, by the training environment's Python

Image programs know a v-prediction checkpoint by empty tensors named `v_pred` and `ztsnr`. sd-scripts builds the file
anew from U-Net, text encoders and VAE, and leaves out what else the base had, so the trained checkpoint would be drawn
as one that predicts noise. Every safetensors file with an SDXL U-Net in it gets the tensors of these NAMEs as it is
saved; all else, a LoRA or a state, is saved as it is. SCRIPT may be another script of this folder, such as scaled.py.

Relied upon: sd-scripts saves a checkpoint through safetensors.torch.save_file (library/sdxl_model_util.py:
save_stable_diffusion_checkpoint, the same in v0.10.1 and v0.11.1).
"""

from __future__ import annotations

import functools
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

U_NET = "model.diffusion_model."


def main(argv: list[str]) -> int:
    """Change how files are saved, then become the script."""
    if len(argv) < 2 or argv[0] in {"-h", "--help"}:  # noqa: PLR2004  names and a script
        print("usage: marked.py NAME[,NAME] SCRIPT [args...]", file=sys.stderr)
        return 0 if argv[:1] in (["-h"], ["--help"]) else 2
    sys.path[0] = str(Path.cwd())  # where SCRIPT's own folder would stand if it were run directly
    names = argv[0].split(",")
    safetensors.torch.save_file = marking(safetensors.torch.save_file, names)  # before sd-scripts takes it by name
    sys.argv = argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
    return 0


def marking(save: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
    """Give a checkpoint its tensors before it is saved."""

    @functools.wraps(save)
    def marked(tensors: dict[str, torch.Tensor], *args: object, **named: object) -> Any:  # noqa: ANN401  whatever it gives
        if any(name.startswith(U_NET) for name in tensors):
            tensors = {**tensors, **{name: torch.empty(0) for name in names}}
        return save(tensors, *args, **named)

    return marked


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
