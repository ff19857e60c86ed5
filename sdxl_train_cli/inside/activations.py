"""Count what autograd keeps for one step of SDXL, without the memory and without a GPU.

    python activations.py [--quick]            run in the sd-scripts checkout, by the training environment's Python

    {"torch": "2.6.0", "rows": [{"part", "network", "network_dim", "conv_dim", "base", "precision", "attention",
                                 "checkpointing", "side", "batch", "tokens", "kept", "recomputed", "copies"}]}

The real U-Net, text encoders and LoRA run in torch's FakeTensorMode, where a tensor has shape, dtype and lifetime but
no bytes. Of every storage that comes to life three sums are kept, all in bytes:

    kept        activations alive when the forward pass has ended: what the backward pass will need
    recomputed  how far the activations rise above that while the backward pass runs, gradients of weights not counted
    copies      16-bit copies of weights alive at the end of the forward pass, made by autocast or for an fp8 base

Each storage counts once, rounded up to CUDA's 512 bytes; parameters do not count. The text encoders stand in rows of
their own (`part` is "text", one image, 77 tokens): what they keep is simply added. Of the VAE, which is not trained,
`recomputed` is the most that one picture takes on its way ("encode", "decode", "strips", "draw").

Fake CUDA tensors need a driver, so the tensors are said to be on the CPU, and what CUDA's autocast runs in float32 but
the CPU's does not (both norms, softmax) is run in float32 here. Relied upon, as they are in v0.10.1:

- library/sdxl_original_unet.py: SdxlUNet2DConditionModel, set_use_sdpa, enable_gradient_checkpointing
- networks/lora.py: create_network, LoRANetwork.UNET_TARGET_REPLACE_MODULE
- library/model_util.py: create_vae_diffusers_config
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import itertools
import json
import logging
import runpy
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROUNDED_TO = 512
TOKENS, THREE_WINDOWS = 77, 227
"""Tokens of a caption in one window of 75, and in three: the two that enclose it count once."""
CONTEXT_WIDTH = 2048
VECTOR_WIDTH = 2816
BATCHES = (1, 2, 4)
SIDES = (512, 768, 1536)


@dataclass(frozen=True)
class Case:
    """One combination of settings to count."""

    part: str = "unet"
    network: str = "lora"
    network_dim: int = 32
    conv_dim: int = 0
    base: str = "bf16"
    precision: str = "bf16"
    attention: str = "sdpa"
    checkpointing: bool = False
    side: int = 1024
    batch: int = 1
    tokens: int = TOKENS


FULL = Case(network="full", network_dim=0, base="fp32")
WORDS = Case(network="words", network_dim=0)
"""Of an embedding: nothing but the text encoders' vocabularies is trained, and the U-Net passes gradients on."""
NETWORKS = (FULL, Case(), Case(network_dim=128), Case(network_dim=64, conv_dim=32))
SINGLES = (
    Case(attention="plain"),
    Case(attention="plain", side=512),
    Case(base="fp8"),
    Case(tokens=THREE_WINDOWS),
    replace(FULL, base="bf16"),
    Case(base="fp32", precision="fp32"),
    replace(FULL, precision="fp32"),
    replace(FULL, part="text"),
    Case(part="text"),
    Case(part="text", network_dim=128),
    WORDS,
    replace(WORDS, base="fp32", precision="fp32"),
    replace(WORDS, part="text", base="fp32"),
)
PICTURES = tuple(
    Case(part=way, network="none", network_dim=0, base=precision, precision=precision)
    for way in ("encode", "decode", "strips", "draw")
    for precision in ("bf16", "fp32")
)


def main() -> int:
    """Count every case and print the table."""
    parser = argparse.ArgumentParser(prog="activations.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one case alone: LoRA 32 at 512x512, checkpointed")
    quick = parser.parse_args().quick
    sys.path[0] = str(Path.cwd())  # the checkout: the files beside this one must not stand for upstream's modules
    try:
        with contextlib.redirect_stdout(sys.stderr):
            torch = importlib.import_module("torch")
            logging.disable(logging.INFO)
            cases = [Case(side=512, checkpointing=True)] if quick else list(grid())
            rows = [{**asdict(case), **count(torch, case)} for case in cases]
    except Exception as error:  # noqa: BLE001  torch and upstream can each fail in their own way
        print(" ".join(f"{type(error).__name__}: {error}".split()), file=sys.stderr)
        return 1
    print(json.dumps({"torch": torch.__version__, "rows": rows}))
    return 0


def grid() -> Iterator[Case]:
    """Every network by batch and by resolution, and single cases for settings of small effect."""
    for network, checkpointing in itertools.product(NETWORKS, (False, True)):
        yield from (replace(network, checkpointing=checkpointing, batch=batch) for batch in BATCHES)
        yield from (replace(network, checkpointing=checkpointing, side=side) for side in SIDES)
    for single, checkpointing in itertools.product(SINGLES, (False, True)):
        yield replace(single, checkpointing=checkpointing)
    yield from PICTURES


class Ledger:
    """Living storages by kind. `highest` is the peak of activations."""

    def __init__(self) -> None:
        self.weights: set[int] = set()
        self.activations: dict[int, int] = {}
        self.copies: dict[int, int] = {}
        self.watched: dict[int, Any] = {}
        self.total = self.highest = 0

    def exclude(self, weight: Any) -> None:  # noqa: ANN401  tensors, in a file that has no torch until it runs
        """Exclude a parameter or buffer, which is neither activation nor copy."""
        self.weights.add(id(weight.untyped_storage()))

    def enter(self, tensor: Any, *, is_copy: bool) -> None:  # noqa: ANN401  the same
        """Record a tensor's storage, once, until it is freed."""
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self.weights or key in self.watched:
            return
        size = -(-storage.nbytes() // ROUNDED_TO) * ROUNDED_TO
        self.watched[key] = weakref.ref(storage, lambda _gone: self.leave(key))
        if is_copy:
            self.copies[key] = size
            return
        self.activations[key] = size
        self.total += size
        self.highest = max(self.highest, self.total)

    def leave(self, key: int) -> None:
        """Remove a freed storage."""
        self.watched.pop(key, None)
        self.copies.pop(key, None)
        self.total -= self.activations.pop(key, 0)

    def is_gradient(self, weight: Any) -> None:  # noqa: ANN401  the same
        """Reclassify a gradient once it has reached its weight: it is no activation any more."""
        self.total -= self.activations.pop(id(weight.grad.untyped_storage()), 0)


def watching(ledger: Ledger) -> Any:  # noqa: ANN401  a context manager of torch's
    """Return a mode that records every operation in the ledger, including those of the backward pass."""
    modes = importlib.import_module("torch.utils._python_dispatch")
    leaves = importlib.import_module("torch.utils._pytree").tree_leaves
    torch = importlib.import_module("torch")

    class Watching(modes.TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(
            self,
            operation: Callable[..., object],
            _types: object,
            args: tuple[Any, ...] = (),
            kwargs: dict[str, Any] | None = None,
        ) -> object:
            made = operation(*args, **(kwargs or {}))
            casts = operation is torch.ops.aten._to_copy.default  # noqa: SLF001  the public name of a cast
            is_copy = casts and id(args[0].untyped_storage()) in ledger.weights
            for leaf in leaves(made):
                if isinstance(leaf, torch.Tensor):
                    ledger.enter(leaf, is_copy=is_copy)
            return made

    return Watching()


def count(torch: Any, case: Case) -> dict[str, int]:  # noqa: ANN401  a module that is there only here
    """Run one forward and backward pass on shapes only."""
    fake = importlib.import_module("torch._subclasses.fake_tensor").FakeTensorMode
    ledger = Ledger()
    if case.network == "none":
        return {"kept": 0, "recomputed": picture(torch, case, ledger, fake), "copies": 0}
    with as_cuda_autocasts(torch), fake(allow_non_fake_inputs=True):
        models, network = built(torch, case)
        for model in (*models, *([network] if network else [])):
            for weight in itertools.chain(model.parameters(), model.buffers()):
                ledger.exclude(weight)
                if weight.requires_grad:
                    weight.register_post_accumulate_grad_hook(ledger.is_gradient)
        with watching(ledger):
            run = text_loss if case.part == "text" else unet_loss
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=case.precision == "bf16"):
                loss = run(torch, case, *models)
                copies = sum(ledger.copies.values())
            kept = ledger.highest = ledger.total
            loss.backward()
    return {"kept": kept, "recomputed": ledger.highest - kept, "copies": copies}


def built(torch: Any, case: Case) -> tuple[list[Any], Any]:  # noqa: ANN401  the same
    """Make the models in the base's dtype, and the network that is trained on them, as sd-scripts prepares them."""
    models = text_encoders() if case.part == "text" else [unet(case)]
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn}[case.base]
    for model in models:
        model.to(dtype)
        model.train()
    if case.network == "full":
        return models, None
    for model in models:
        model.requires_grad_(False)
    if case.network == "words":
        for model in models if case.part == "text" else ():
            model.get_input_embeddings().requires_grad_(True)
        return models, None
    lora = importlib.import_module("networks.lora")
    targets = list(lora.LoRANetwork.UNET_TARGET_REPLACE_MODULE)
    convolution = {"conv_dim": str(case.conv_dim), "conv_alpha": "1"} if case.conv_dim else {}
    texts, image = (models, unet(case)) if case.part == "text" else ([], models[0])
    network = lora.create_network(1.0, case.network_dim, 1.0, None, texts, image, **convolution)
    lora.LoRANetwork.UNET_TARGET_REPLACE_MODULE = targets  # upstream adds a LoCon's to its own list, for good
    network.apply_to(texts, image, case.part == "text", case.part != "text")
    network.requires_grad_(True)
    if case.part == "text" and case.checkpointing:
        for model in models:
            model.text_model.embeddings.requires_grad_(True)  # as sd-scripts does, or no gradient would come back
    return models, network


def unet(case: Case) -> Any:  # noqa: ANN401  a module of upstream's
    """Build SDXL's U-Net."""
    model = importlib.import_module("library.sdxl_original_unet").SdxlUNet2DConditionModel()
    model.set_use_sdpa(case.attention == "sdpa")
    if case.checkpointing:
        model.enable_gradient_checkpointing()
    return model


def text_encoders() -> list[Any]:
    """Build SDXL's two text encoders."""
    transformers = importlib.import_module("transformers")

    def config(width: int, layers: int, heads: int, act: str) -> Any:  # noqa: ANN401  transformers' own
        return transformers.CLIPTextConfig(
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            hidden_act=act,
            projection_dim=width,
        )

    first = transformers.CLIPTextModel(config(768, 12, 12, "quick_gelu"))
    second = transformers.CLIPTextModelWithProjection(config(1280, 32, 20, "gelu"))
    return [first, second]


def unet_loss(torch: Any, case: Case, model: Any) -> Any:  # noqa: ANN401  the same
    """Loss of one step from random latents. Gradients are requested where sd-scripts allows them."""
    dtype = torch.float32 if case.precision == "fp32" else torch.bfloat16
    side = case.side // 8
    latents = torch.randn(case.batch, 4, side, side, dtype=dtype).requires_grad_(case.network not in {"full", "words"})
    context = torch.randn(case.batch, case.tokens, CONTEXT_WIDTH, dtype=dtype)
    if case.checkpointing and case.network != "words":
        latents.requires_grad_()
    if case.checkpointing or case.network == "words":
        context.requires_grad_()
    timesteps = torch.randint(0, 1000, (case.batch,))
    noise = model(latents, timesteps, context, torch.randn(case.batch, VECTOR_WIDTH, dtype=dtype))
    return torch.nn.functional.mse_loss(noise.float(), torch.randn_like(noise, dtype=torch.float32))


def text_loss(torch: Any, case: Case, first: Any, second: Any) -> Any:  # noqa: ANN401  the same
    """A loss that reaches both text encoders through the layers that SDXL uses."""
    if case.checkpointing:
        first.gradient_checkpointing_enable()
        second.gradient_checkpointing_enable()
    tokens = torch.randint(0, 49408, (case.batch, TOKENS))
    spoken, told = (model(tokens, output_hidden_states=True) for model in (first, second))
    return spoken.hidden_states[-2].sum() + told.hidden_states[-2].sum() + told.text_embeds.sum()


def picture(torch: Any, case: Case, ledger: Ledger, fake: Any) -> int:  # noqa: ANN401  the same
    """Peak memory while a picture is encoded, decoded at once or in strips, or drawn: with guidance, two at a time."""
    drawn, half, side = case.part == "draw", case.precision == "bf16", case.side // 8
    dtype = torch.bfloat16 if half else torch.float32
    with as_cuda_autocasts(torch), fake(allow_non_fake_inputs=True), torch.no_grad():
        model = unet(case) if drawn else vae(case)
        model.to(dtype)
        for weight in itertools.chain(model.parameters(), model.buffers()):
            ledger.exclude(weight)
        with watching(ledger), torch.autocast("cpu", dtype=torch.bfloat16, enabled=drawn and half):
            if drawn:  # the VAE works outside of autocast
                context, vector = (
                    torch.randn(2, *size, dtype=dtype) for size in ((case.tokens, CONTEXT_WIDTH), (VECTOR_WIDTH,))
                )
                model(torch.randn(2, 4, side, side, dtype=dtype), torch.randint(0, 1000, (2,)), context, vector)
            elif case.part == "encode":
                model.encode(torch.randn(case.batch, 3, case.side, case.side, dtype=dtype)).latent_dist.sample()
            else:
                model.decode(torch.randn(case.batch, 4, side, side, dtype=dtype))
    return ledger.highest


def vae(case: Case) -> Any:  # noqa: ANN401  a module of diffusers'
    """Build SDXL's VAE, for "strips" with the decoding of sampled.py."""
    config = importlib.import_module("library.model_util").create_vae_diffusers_config()
    model = importlib.import_module("diffusers").AutoencoderKL(**config)
    if case.part == "strips":
        change = runpy.run_path(str(Path(__file__).with_name("sampled.py")))["sparing"]
        model.decoder.forward = functools.partial(change(type(model.decoder).forward), model.decoder)
    return model


@contextlib.contextmanager
def as_cuda_autocasts(torch: Any) -> Iterator[None]:  # noqa: ANN401  the same
    """Run in float32 the operations that CUDA's autocast would."""
    functional, tensor = torch.nn.functional, torch.Tensor
    held = (functional.layer_norm, functional.group_norm, tensor.softmax)

    def widened(operation: Any) -> Any:  # noqa: ANN401  the same
        def run(value: Any, shape: Any, *weights: Any, **others: Any) -> Any:  # noqa: ANN401  the same
            if not torch.is_autocast_enabled("cpu"):
                return operation(value, shape, *weights, **others)
            wide = [weight.float() if isinstance(weight, tensor) else weight for weight in weights]
            return operation(value.float(), shape, *wide, **others)

        return run

    functional.layer_norm, functional.group_norm = widened(held[0]), widened(held[1])
    tensor.softmax = lambda value, dim: held[2](value.float() if torch.is_autocast_enabled("cpu") else value, dim=dim)
    try:
        yield
    finally:
        functional.layer_norm, functional.group_norm, tensor.softmax = held


if __name__ == "__main__":
    sys.exit(main())
