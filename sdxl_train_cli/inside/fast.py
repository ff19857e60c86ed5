"""Run one of sd-scripts' network training scripts faster: the same mathematics, with less waiting between kernels.

    python fast.py INGREDIENTS SCRIPT [args...]     run in the sd-scripts checkout, by the training environment's Python
    python fast.py --list                           print the ingredients, the default ones first

INGREDIENTS are words with commas between them; `default` stands for the default ones. SCRIPT may be another script of
this folder, such as scaled.py. sd-scripts' files stay as they are: classes are changed once they are imported. What an
ingredient needs and does not find is told on stderr, and the run goes on without it.

A step at batch 1 launches some 20,000 kernels (docs/speed.md), and the GPU waits for most of them. What helps:

- sync       the 8-bit optimizer of bitsandbytes waits for the GPU after each of 1,444 weights; none of them needs it
- reduce     gradients are not copied for a mean over one process
- inputs     no gradient of the noisy picture and of cached text, which nobody reads
- lora       a LoRA's weights are cast once a step, all together and with their scale in them, instead of one by one
- norms      normalisation reads and writes the 16 bits of its neighbours, and still computes in 32
- graphs     forward and backward pass are recorded as CUDA graphs, one pair for each shape of batch, and replayed
- compile    torch.compile of transformer and residual blocks; needs triton and a C compiler
- channels   convolutions in channels-last order
- cudnn      cuDNN tries which algorithm is fastest for a shape
- tf32       matrix products that are in 32 bits round their factors to 19 (not the same mathematics)

Relied upon: library/sdxl_original_unet.py (SdxlUNet2DConditionModel, and four block classes with `forward_body` and
`gradient_checkpointing`), networks/lora.py (LoRAModule replaces the `forward` of a layer by its own).
"""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.util
import math
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils import checkpoint

DEFAULT = ("sync", "reduce", "inputs", "lora", "norms", "graphs")
OTHERS = ("compile", "channels", "cudnn", "tf32")
CHECKPOINTED = ("ResnetBlock2D", "Downsample2D", "BasicTransformerBlock", "Upsample2D")
COMPILED = ("ResnetBlock2D", "BasicTransformerBlock")
RECORDED_NETWORKS = {
    *(f"networks.{name}" for name in ("lora", "loha", "lokr")),
    *(f"lycoris.modules.{name}" for name in ("locon", "loha", "lokr")),
}
"""Networks whose modules do the same in each step. A DyLoRA draws a random rank."""
EAGER_STEPS = 2
"""Steps of a shape before it is recorded: they load kernels, and a rare shape is not worth a recording."""
MOST_SHAPES = 24
"""Limit of recordings. Each takes tens of MB in the driver."""
MOST_KINDS_OF_BLOCK = 256
"""Versions of a block that torch.compile may create: by width, batch shape, and with or without gradients."""

Forward = Callable[..., torch.Tensor]


def main(argv: list[str]) -> int:
    """Modify what the script will import, then run the script in this process."""
    if argv == ["--list"]:
        print(*DEFAULT, *OTHERS)
        return 0
    if len(argv) < 2 or argv[0] in {"-h", "--help"}:  # noqa: PLR2004  ingredients and a script
        print("usage: fast.py (--list | INGREDIENTS SCRIPT [args...])", file=sys.stderr)
        return 0 if argv[:1] in (["-h"], ["--help"]) else 2
    words = argv[0].split(",")
    wanted = {*words} - {"default"} | ({*DEFAULT} if "default" in words else set())
    if unknown := wanted - {*DEFAULT, *OTHERS}:
        print(f"fast.py: no such ingredient: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    sys.path[0] = str(Path.cwd())  # where SCRIPT's own folder would stand if it were run directly
    if why := why_not_here(argv[1:]):
        tell(f"not used: {why}")
    else:
        install(possible(wanted, argv[1:]), argv[1:])
    sys.argv = argv[1:]
    runpy.run_path(argv[1], run_name="__main__")
    return 0


def tell(words: str) -> None:
    """Write a message of ours to the run's log."""
    print(f"fast: {words}", file=sys.stderr, flush=True)


def why_not_here(argv: Sequence[str]) -> str | None:
    """Why this run can't be made faster, or None if everything relied upon exists."""
    others = [word for word in argv if word in {"--torch_compile", "--deepspeed"}]
    if others:
        return f"{others[0]} changes the model in its own way"
    if not hasattr(torch, "get_autocast_dtype"):
        return f"torch {torch.__version__} is older than 2.4"
    try:
        library = importlib.import_module("library.sdxl_original_unet")
    except ImportError as error:
        return str(error)
    needed = [("SdxlUNet2DConditionModel", "forward"), *((name, "forward_body") for name in CHECKPOINTED)]
    missing = [name for name, method in needed if not hasattr(getattr(library, name, None), method)]
    return f"library.sdxl_original_unet has changed: {', '.join(missing)}" if missing else None


def possible(wanted: set[str], argv: Sequence[str]) -> set[str]:
    """The ingredients that this machine and these options support. Reports the others."""
    lacking = {}
    if not torch.cuda.is_available():
        lacking["graphs"] = "no GPU"
    if importlib.util.find_spec("triton") is None:
        lacking["compile"] = "triton is not installed"
    elif not any(map(shutil.which, ("gcc", "cc", "clang", "cl"))):
        lacking["compile"] = "no C compiler"
    if any(word.lower().startswith("paged") for word in argv):
        lacking["sync"] = "a paged optimizer needs these waits"
    for name in sorted(wanted & lacking.keys()):
        tell(f"without {name}: {lacking[name]}")
    return wanted - lacking.keys()


def install(wanted: set[str], argv: Sequence[str]) -> None:
    """Modify the classes and functions that the script will use."""
    library = importlib.import_module("library.sdxl_original_unet")
    model = library.SdxlUNet2DConditionModel
    faster = Faster(model.forward, wanted)

    @functools.wraps(model.forward)
    def forward(self: Any, x: Any, timesteps: Any = None, context: Any = None, y: Any = None, **_: Any) -> Any:  # noqa: ANN401  upstream's
        return faster(self, x, timesteps, context, y)

    model.forward = forward
    for name in CHECKPOINTED:
        block = getattr(library, name)
        block.forward = forward_of(block.forward_body, is_compiled=name in COMPILED and "compile" in wanted)
    if "reduce" in wanted:
        accelerator = importlib.import_module("accelerate").Accelerator
        accelerator.reduce = without_copies(accelerator.reduce)
    if "sync" in wanted and any("8bit" in word.lower() for word in argv):
        without_waits()
    if "cudnn" in wanted:
        torch.backends.cudnn.benchmark = True
    if "tf32" in wanted:
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True


def forward_of(body: Forward, *, is_compiled: bool) -> Forward:
    """A block's `forward`: upstream's, except for a checkpoint that can be recorded and stores no random state.

    Upstream's checkpoint is reentrant, and runs a nested backward pass.
    """
    trained = compiled(body) if is_compiled else body

    def forward(self: Any, *inputs: Any, **named: Any) -> Any:  # noqa: ANN401  upstream's
        if not torch.is_grad_enabled():
            return body(self, *inputs, **named)
        if not (self.training and self.gradient_checkpointing):
            return trained(self, *inputs, **named)
        return checkpoint.checkpoint(
            functools.partial(trained, self), *inputs, use_reentrant=False, preserve_rng_state=draws(self), **named
        )

    return forward


def compiled(body: Forward) -> Forward:
    """Compile for each shape on first use. What can't be compiled runs unchanged."""
    dynamo = importlib.import_module("torch._dynamo")
    for limit in ("recompile_limit", "cache_size_limit"):  # the name before torch 2.7
        if hasattr(dynamo.config, limit):
            setattr(dynamo.config, limit, MOST_KINDS_OF_BLOCK)
            break
    dynamo.config.accumulated_cache_size_limit = 8 * MOST_KINDS_OF_BLOCK
    dynamo.config.suppress_errors = True
    compiled_body: Forward = torch.compile(body, dynamic=False)
    return compiled_body


def draws(block: Any) -> bool:  # noqa: ANN401  upstream's
    """Whether a module within a block draws random numbers, which a second forward pass must repeat."""
    known = block.__dict__.get("fast_draws")
    if known is None:
        known = block.__dict__["fast_draws"] = any(map(has_dropout, owners(block)))
    return bool(known)


def owners(model: nn.Module) -> list[Any]:
    """Modules of the network that have replaced a layer's `forward` with their own."""
    forwards = (module.__dict__.get("forward") for module in model.modules())
    found = (getattr(forward, "__self__", None) for forward in forwards)
    return [owner for owner in found if isinstance(owner, nn.Module) and owner is not model]


def why_not_recorded(owners: Sequence[Any]) -> str | None:
    """Why this network's steps can't be recorded, or None: each must launch the same kernels."""
    if any(map(has_dropout, owners)):
        return "the network drops parts at random, which a recording would repeat"
    unknown = {type(owner).__module__ for owner in owners} - RECORDED_NETWORKS
    return f"{', '.join(sorted(unknown))} may do something different in each step" if unknown else None


def has_dropout(owner: object) -> bool:
    """Whether a network module has any dropout. LyCORIS stores it as a module or a number."""
    found = (getattr(owner, name, None) for name in ("dropout", "rank_dropout", "module_dropout", "drop"))
    chances = (getattr(value, "p", value) for value in found)
    return any(isinstance(chance, int | float) and chance > 0 for chance in chances)


def without_copies(reduce: Callable[..., Any]) -> Callable[..., Any]:
    """Accelerate's mean over all processes, which returns its input for a single process."""

    @functools.wraps(reduce)
    def mean(self: Any, tensor: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401  accelerate's
        return tensor if self.num_processes == 1 else reduce(self, tensor, *arguments, **named)

    return mean


def without_waits() -> None:
    """Make bitsandbytes continue with the next weight at once: the GPU executes in order anyway."""
    optimizer = importlib.import_module("bitsandbytes.optim.optimizer")
    if hasattr(optimizer, "sync_gpu"):
        optimizer.sync_gpu = lambda _tensor: None
    else:
        tell("without sync: this bitsandbytes does not wait there")


class Faster:
    """Replaces the U-Net's `forward`."""

    def __init__(self, forward: Forward, wanted: set[str]) -> None:
        self.forward = forward
        self.wanted = wanted
        self.weights: Weights | None = None
        self.owners: list[Any] = []
        self.is_ready = False
        self.seen: dict[tuple[object, ...], int] = {}
        self.recordings: dict[tuple[object, ...], Recording] = {}
        self.gradients: dict[int, torch.Tensor] = {}
        self.pool: Any = None

    def __call__(self, unet: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
        """Run one forward pass whose backward pass yields the same gradients."""
        if not self.is_ready:
            self.make_ready(unet)
        if not torch.is_grad_enabled():  # samples and validation: the VAE may need the memory of the recordings
            self.forget()
            return self.plain(unet, *inputs)
        if "inputs" in self.wanted or "graphs" in self.wanted:
            inputs = tuple(tensor if reaches_weights(tensor) else tensor.detach() for tensor in inputs)
        if "graphs" not in self.wanted:
            return self.plain(unet, *inputs)
        # Autocast would keep a cast weight for its next use, which a recording must neither find nor leave behind.
        torch.clear_autocast_cache()
        torch.set_autocast_cache_enabled(False)  # the autocast around us restores it
        key = self.key(unet, inputs)
        recording = self.recordings.get(key)
        if recording is not None:
            return recording(inputs)
        self.seen[key] = self.seen.get(key, 0) + 1
        if self.seen[key] <= EAGER_STEPS or len(self.recordings) >= MOST_SHAPES:
            return self.plain(unet, *inputs)
        return self.recorded(unet, key, inputs)

    def make_ready(self, unet: nn.Module) -> None:
        """Modify this U-Net after the network has been attached."""
        self.is_ready = True
        self.owners = owners(unet)
        if "graphs" in self.wanted and (why := why_not_recorded(self.owners)):
            tell(f"without graphs: {why}")
            self.wanted = self.wanted - {"graphs"}
        if "channels" in self.wanted:
            unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  torch types dtypes and devices only
        if "lora" in self.wanted:
            layers = list(adapt(unet))
            self.weights = Weights(layers) if layers else None
        if "norms" in self.wanted:
            for module in unet.modules():
                if isinstance(module, nn.LayerNorm | nn.GroupNorm) and "forward" not in module.__dict__:
                    module.__class__ = in_own_precision(type(module))

    def plain(self, unet: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
        """Forward pass without recording."""
        if self.weights is not None:
            self.weights.refresh(compute_dtype(inputs[0]))
        return self.forward(unet, *inputs)

    def key(self, unet: nn.Module, inputs: Sequence[torch.Tensor]) -> tuple[object, ...]:
        """Identifies steps that launch the same kernels on different data."""
        shapes = [(tensor.shape, tensor.dtype, tensor.requires_grad) for tensor in inputs]
        multiplier = getattr(self.owners[0], "multiplier", None) if self.owners else None
        return (*shapes, compute_dtype(inputs[0]), unet.training, float(multiplier or 0))

    def recorded(self, unet: nn.Module, key: tuple[object, ...], inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Record this shape and replay it. If that fails, continue without recording."""
        try:
            if self.pool is None:
                self.pool = torch.cuda.graph_pool_handle()
            self.recordings[key] = recording = Recording(functools.partial(self.plain, unet), inputs, self)
        except RuntimeError as error:
            self.wanted = self.wanted - {"graphs"}
            self.forget()
            tell(f"without graphs: {' '.join(str(error).split())[:300]}")
            return self.plain(unet, *inputs)
        height, width = (8 * side for side in inputs[0].shape[-2:])
        tell(f"recorded {inputs[0].shape[0]} x {width}x{height}")
        return recording(inputs)

    def forget(self) -> None:
        """Free the memory of the recordings."""
        if self.pool is None:
            return
        self.recordings.clear()
        self.seen.clear()
        self.gradients.clear()
        self.pool = None
        gc.collect()
        torch.cuda.empty_cache()


def compute_dtype(tensor: torch.Tensor) -> torch.dtype:
    """Precision of matrix products."""
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tensor.dtype


def reaches_weights(tensor: torch.Tensor) -> bool:
    """Whether a gradient of this tensor would reach a weight, as in a trained text encoder."""
    return any(isinstance(leaf, nn.Parameter) for leaf in leaves(tensor))


def leaves(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Tensors that receive gradients in a backward pass from here."""
    found, left, known = list[torch.Tensor](), [tensor.grad_fn], set[object]()
    while left:
        node: Any = left.pop()
        if node is None or node in known:
            continue
        known.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        left += [before for before, _ in node.next_functions]
    return found


class Weights:
    """Weights of all adapted layers, cast together."""

    def __init__(self, layers: Sequence[tuple[Any, Any]]) -> None:
        self.layers = layers

    def refresh(self, dtype: torch.dtype) -> None:
        """Give each layer its two current weights in the computation's precision."""
        downs = [lora.lora_down.weight for _, lora in self.layers]
        ups = [lora.lora_up.weight for _, lora in self.layers]
        scales = [float(lora.multiplier * lora.scale) for _, lora in self.layers]
        ready = Cast.apply(dtype, scales, *downs, *ups)
        for number, (layer, _) in enumerate(self.layers):
            layer.__dict__["fast_down"], layer.__dict__["fast_up"] = ready[number], ready[number + len(downs)]


class Cast(torch.autograd.Function):
    """Cast many weights at once, scaling the second half. Gradients return the same way."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, scales: list[float], *weights: torch.Tensor) -> tuple[torch.Tensor, ...]:  # noqa: ANN401  torch's
        """Return the cast weights as parts of two new tensors."""
        ctx.scales, ctx.dtypes = scales, [weight.dtype for weight in weights]
        half = len(weights) // 2
        if dtype is weights[0].dtype or all(math.frexp(scale)[0] in {0.5, 0.0} for scale in scales):
            cast = copies(weights, dtype)
            scaled(cast[half:], scales)  # a power of two takes nothing away from 16 bits
            return tuple(cast)
        return (*copies(weights[:half], dtype), *copies(torch._foreach_mul(weights[half:], scales), dtype))  # noqa: SLF001  the way to many kernels in one

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]  # noqa: ANN401  torch's
        """Gradients in the weights' own precision."""
        found = copies(gradients, ctx.dtypes[0])
        scaled(found[len(found) // 2 :], ctx.scales)
        return (None, None, *found)


def copies(tensors: Sequence[torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
    """Copy tensors into parts of a new one, with a few kernels in total."""
    whole = torch.empty(sum(tensor.numel() for tensor in tensors), dtype=dtype, device=tensors[0].device)
    parts = whole.split([tensor.numel() for tensor in tensors])
    found = [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
    torch._foreach_copy_(found, tensors)
    return found


def scaled(tensors: Sequence[torch.Tensor], scales: Sequence[float]) -> None:
    """Multiply each tensor in place."""
    if any(scale != 1 for scale in scales):
        torch._foreach_mul_(tensors, scales)


class Adapted(nn.Linear):
    """A linear layer with its LoRA: base layer, down projection, and the up projection added in the same kernel."""

    fast_down: torch.Tensor
    fast_up: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Output of layer and LoRA combined."""
        rows = x.flatten(0, -2).to(self.fast_down.dtype)  # cast once, instead of in the layer and in the LoRA
        if torch.compiler.is_compiling():  # the compiler finds the way by itself
            base = functional.linear(rows, self.weight.to(rows.dtype), self.bias)
            result = base + functional.linear(functional.linear(rows, self.fast_down), self.fast_up)
        else:
            result = LayerAndLora.apply(rows, self.weight, self.bias, self.fast_down, self.fast_up)
        return result.view(*x.shape[:-1], -1)


class LayerAndLora(torch.autograd.Function):
    """Three matrix products forward and five backward, with nothing in between. The base layer is frozen."""

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917  torch's
        ctx: Any,  # noqa: ANN401
        rows: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
    ) -> torch.Tensor:
        """Save for the backward pass only the narrow intermediate tensor, and no copy of the layer's weight."""
        low = rows @ down.t()
        ctx.save_for_backward(rows, low, weight, down, up)
        return functional.linear(rows, weight.to(rows.dtype), bias).addmm_(low, up.t())

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]  # noqa: ANN401  torch's
        """The input's combined gradient, and those of the two weights."""
        rows, low, weight, down, up = ctx.saved_tensors
        of_low = gradient @ up
        of_rows = None
        if ctx.needs_input_grad[0]:
            of_rows = (gradient @ weight.to(gradient.dtype)).addmm_(of_low, down)
        return of_rows, None, None, of_low.t() @ rows, gradient.t() @ low


def adapt(unet: nn.Module) -> Iterator[tuple[Any, Any]]:
    """Merge each linear layer with its plain LoRA into one module. Layers with dropout are left alone."""
    for module in unet.modules():
        owner = getattr(module.__dict__.get("forward"), "__self__", None)
        is_lora = type(owner).__module__ == "networks.lora" and type(owner).__name__ == "LoRAModule"
        if is_lora and type(module) is nn.Linear and not has_dropout(owner):
            del module.forward
            module.__class__ = Adapted
            yield module, owner


@functools.cache
def in_own_precision(base: type) -> type:
    """A norm that does not widen its input under autocast: its kernel computes in 32 bits anyway."""

    class Norm(base):  # type: ignore[misc]  a class of the run's own
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            is_narrow = x.dtype is self.weight.dtype and x.dtype in {torch.bfloat16, torch.float16}
            if not is_narrow:
                return super().forward(x)  # type: ignore[no-any-return]
            with torch.autocast(x.device.type, enabled=False):
                return super().forward(x)  # type: ignore[no-any-return]

    return Norm


class Recording:
    """Forward and backward pass of one batch shape as two CUDA graphs."""

    def __init__(self, step: Forward, inputs: Sequence[torch.Tensor], common: Faster) -> None:
        self._step = step
        self.inputs = [tensor.detach().clone().requires_grad_(tensor.requires_grad) for tensor in inputs]
        self.output = torch.empty(0)
        # The recorded pass sees other tensors of the same memory: what autograd still knows of the weights belongs to
        # the stream of the steps before, and one look at that stream would end the recording.
        modules = {id(module): module for owner in common.owners for module in owner.modules()}.values()
        self._shadows = [
            (module, name, weight, nn.Parameter(weight.detach()))
            for module in modules
            for name, weight in module._parameters.items()  # noqa: SLF001  a name that is set would be looked at
            if weight is not None and weight.requires_grad
        ]
        is_collected = gc.isenabled()
        gc.disable()  # a graph or event that is freed meanwhile would end the recording
        try:
            self.replay_forward = record(self._forward, common.pool)
            self.output_gradient = torch.zeros_like(self.output)
            self.wanted = [tensor for tensor in self.inputs if tensor.requires_grad]
            weights = {id(shadow): weight for _, _, weight, shadow in self._shadows}
            self._reached = [leaf for leaf in leaves(self.output) if id(leaf) in weights]
            self.weights: list[torch.Tensor] = [weights[id(leaf)] for leaf in self._reached]
            # All shapes share the weights' gradients: only one of them is in use at a time.
            for weight in self.weights:
                if id(weight) not in common.gradients:
                    common.gradients[id(weight)] = torch.zeros_like(weight)
            self.gradients = [common.gradients[id(weight)] for weight in self.weights]
            self.input_gradients = [torch.zeros_like(tensor) for tensor in self.wanted]
            self.replay_backward = record(self._backward, common.pool)
        finally:
            if is_collected:
                gc.enable()
        self.output = self.output.detach()

    def _forward(self) -> None:
        for module, name, _, shadow in self._shadows:
            module._parameters[name] = shadow  # noqa: SLF001  a name that is set would be looked at
        try:
            with torch.enable_grad():
                self.output = self._step(*self.inputs)
        finally:
            for module, name, weight, _ in self._shadows:
                module._parameters[name] = weight  # noqa: SLF001  a name that is set would be looked at

    def _backward(self) -> None:
        found = torch.autograd.grad(self.output, [*self.wanted, *self._reached], self.output_gradient)
        torch._foreach_copy_([*self.input_gradients, *self.gradients], found)

    def __call__(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Replay the forward pass. The backward pass of its result replays the other graph."""
        result: torch.Tensor = Replay.apply(self, *inputs, *self.weights)
        return result


def record(work: Callable[[], None], pool: Any) -> Callable[[], None]:  # noqa: ANN401  torch has no type for it
    """Record the kernels that `work` launches. Returns a function that launches them again."""
    graph = torch.cuda.CUDAGraph()
    stream, numbers = torch.cuda.current_stream(), torch.cuda.get_rng_state()
    try:
        with torch.cuda.graph(graph, pool=pool):
            work()
    except RuntimeError as error:
        # A recording that breaks off leaves its stream and its random numbers behind.
        torch.cuda.set_stream(stream)
        fresh = torch.Generator(stream.device)
        fresh.set_state(numbers)
        torch.cuda.default_generators[stream.device.index].graphsafe_set_state(fresh)
        first: BaseException = error
        while first.__context__ is not None:
            first = first.__context__
        raise RuntimeError(f"{type(first).__name__}: {first}") from error
    return graph.replay


class Replay(torch.autograd.Function):
    """Inserts a recording into the autograd graph of a step."""

    @staticmethod
    def forward(ctx: Any, recording: Recording, *tensors: torch.Tensor) -> torch.Tensor:  # noqa: ANN401  torch's
        """Copy the inputs to where the recording reads them."""
        ctx.recording = recording
        for place, given in zip(recording.inputs, tensors, strict=False):
            place.detach().copy_(given)
        recording.replay_forward()
        return recording.output.detach()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]  # noqa: ANN401  torch's
        """The weights are inputs, so that autograd forwards their gradients."""
        recording = ctx.recording
        if any(weight.grad is not None for weight in recording.weights[:1]):
            # Gradients of several batches are added up: those of the last one still stand where ours will be.
            for weight in recording.weights:
                weight.grad = None if weight.grad is None else weight.grad.clone()
        recording.output_gradient.copy_(gradient)
        recording.replay_backward()
        of_inputs = iter(recording.input_gradients)
        found = [next(of_inputs).detach() if tensor.requires_grad else None for tensor in recording.inputs]
        return (None, *found, *(gradient.detach() for gradient in recording.gradients))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
