"""Run sd-scripts' drawing script so that one process draws with every checkpoint of a run.

    python draw.py PLAN SCRIPT [args...]    run in the sd-scripts checkout, by the training environment's Python

`sdxl_gen_img.py` loads what `--network_module` names, and sets a multiplier for each network before each picture, as
the prompt's `--am` says. This script offers it two such modules: the multiplier of `drawn_checkpoint` is the number of
a file in the plan, that of `drawn_strength` is the strength at which it is applied. So the base model is loaded once,
and only one checkpoint takes memory and time. A prompt with `--am 2,0.8` is drawn with the third file at 0.8.

PLAN is a JSON file:

- `module`: the network module that trained the files, such as `networks.lora`; null for none
- `arguments`: what the module must be told beside the file, such as `{"factor": "8"}` of a LoKr
- `files`: the checkpoints, which all have the same tensors
- `scheduler`: what the samplers are told beside sd-scripts' arguments, such as `{"prediction_type": "v_prediction"}`

Relied upon, as they are in v0.10.1 and v0.11.1: the calls that `main` of sdxl_gen_img.py makes of a network, and that
it takes its samplers from diffusers.
"""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

CHECKPOINT, STRENGTH = "drawn_checkpoint", "drawn_strength"
SAMPLERS = (
    "DDIMScheduler", "PNDMScheduler", "LMSDiscreteScheduler", "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler",
    "HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler",
)  # fmt: skip


def main(argv: list[str]) -> int:
    """Offer the modules, then run the script in this process."""
    if len(argv) < 2 or argv[0] in ("-h", "--help"):  # noqa: PLR2004  a plan and a script
        print("usage: draw.py PLAN SCRIPT [args...]", file=sys.stderr)
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    sys.path[0] = str(Path.cwd())  # where SCRIPT's own folder would stand if it were run directly
    plan = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    if plan["module"] is not None:
        offer(SwitchedNetwork(plan["module"], plan["arguments"], plan["files"]))
    if plan["scheduler"]:
        tell_samplers(plan["scheduler"])
    sys.argv = argv[1:]
    runpy.run_path(argv[1], run_name="__main__")
    return 0


class SwitchedNetwork:
    """The network of a run, with the weights of the checkpoint that was asked for last."""

    def __init__(self, module: str, arguments: dict[str, str], files: list[str]) -> None:
        self.module = module
        self.arguments = arguments
        self.files = files
        self.network: Any = None
        self.current = 0
        self.names: frozenset[str] = frozenset()

    def create_network_from_weights(self, *args: Any, **kwargs: Any) -> tuple[SwitchedNetwork, dict[str, Any]]:  # noqa: ANN401  upstream's own arguments
        """Build the network as its module does, from the first file."""
        module = importlib.import_module(self.module)
        multiplier, _plan, *models = args
        given = {**kwargs, **self.arguments}
        self.network, weights = module.create_network_from_weights(multiplier, self.files[0], *models, **given)
        self.names = frozenset(weights)
        return self, weights

    def is_mergeable(self) -> bool:
        """Never merged into the base, from which it could not be taken out again."""
        return False

    def apply_to(self, text_encoders: Any, unet: Any) -> None:  # noqa: ANN401  models of upstream's
        """Hook into the models."""
        self.network.apply_to(text_encoders, unet)

    def load_state_dict(self, weights: dict[str, Any], strict: bool) -> Any:  # noqa: ANN401  torch's own
        """Load the first file's weights."""
        return self.network.load_state_dict(weights, strict)

    def to(self, *args: Any, **kwargs: Any) -> SwitchedNetwork:  # noqa: ANN401  torch's own
        """Move to a device or a dtype."""
        self.network.to(*args, **kwargs)
        return self

    def set_multiplier(self, number: float) -> None:
        """Load the checkpoint of this number, unless it is there. ValueError for one with other tensors."""
        from safetensors.torch import load_file  # noqa: PLC0415  torch takes seconds, and --help needs none

        wanted = round(number)
        if wanted == self.current:
            return
        weights = load_file(self.files[wanted])
        if frozenset(weights) != self.names:
            raise ValueError(f"{self.files[wanted]} has other tensors than {self.files[0]}")
        self.network.load_state_dict(weights, False)
        self.current = wanted


class Strength:
    """The multiplier of the switched network, as a network of its own without weights."""

    def __init__(self, switched: SwitchedNetwork) -> None:
        self.switched = switched

    def create_network_from_weights(self, *_args: Any, **_kwargs: Any) -> tuple[Strength, dict[str, Any]]:  # noqa: ANN401  upstream's own arguments
        """Take no weights."""
        return self, {}

    def is_mergeable(self) -> bool:
        """There is nothing to merge."""
        return False

    def apply_to(self, _text_encoders: Any, _unet: Any) -> None:  # noqa: ANN401  models of upstream's
        """Hook into nothing."""

    def load_state_dict(self, _weights: dict[str, Any], _strict: bool) -> str:
        """Load nothing."""
        return "no weights"

    def to(self, *_args: Any, **_kwargs: Any) -> Strength:  # noqa: ANN401  torch's own
        """Move nothing."""
        return self

    def set_multiplier(self, strength: float) -> None:
        """Apply the switched network at this strength."""
        self.switched.network.set_multiplier(strength)


def offer(switched: SwitchedNetwork) -> None:
    """Let the two modules be imported by their names."""
    for name, network in ((CHECKPOINT, switched), (STRENGTH, Strength(switched))):
        made = ModuleType(name)
        made.create_network_from_weights = network.create_network_from_weights  # type: ignore[attr-defined]
        sys.modules[name] = made


def tell_samplers(more: dict[str, Any]) -> None:
    """Give the samplers arguments that sd-scripts' script does not know, where they take them."""
    import diffusers  # noqa: PLC0415  takes seconds, and is needed for few models

    for name in SAMPLERS:
        sampler = getattr(diffusers, name)
        sampler.__init__ = told(sampler.__init__, more)


def told(build: Any, more: dict[str, Any]) -> Any:  # noqa: ANN401  a constructor of diffusers'
    """Wrap a sampler's constructor."""
    import inspect  # noqa: PLC0415  beside the import of diffusers

    known = {name: value for name, value in more.items() if name in inspect.signature(build).parameters}

    def init(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  diffusers' own arguments
        build(self, *args, **{**kwargs, **known})

    return init


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
