"""Prove that the training environment works: import what training imports and make each part do one small thing.

    python probe.py [xformers] [lycoris] [onnxruntime]        any further package that must work too, by its import name

    {"python": "3.11.7", "bits": 64, "packages": {name: version}, "bf16": true, "eight_bit": true,
     "torch": {"version", "cuda", "cuda_available", "devices": [{"name", "capability", "arch_supported"}, ...]}}

A GPU for which this torch holds no code is not an error here: its `arch_supported` is false, and the proofs run on the
CPU. `bf16` says whether the device that would train computes in bfloat16 by itself, and
`eight_bit` whether bitsandbytes' 8-bit optimizers work, which in its older releases need a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import json
import platform
import re
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

# bitsandbytes keeps the state of smaller tensors in 32 bits (bitsandbytes/optim: min_8bit_size).
EIGHT_BIT_ELEMENTS = 64 * 64


def main() -> int:
    """Try every package in turn and print what was found, or name the first that fails."""
    parser = argparse.ArgumentParser(prog="probe.py", description=__doc__.partition("\n")[0])
    parser.add_argument("extras", nargs="*", metavar="PACKAGE", help="a further package to import")
    extras = parser.parse_args().extras
    sys.path[0] = str(Path.cwd())  # the files beside this one must not stand for modules of the same name
    package = "torch"
    try:
        with contextlib.redirect_stdout(sys.stderr):
            packages = installed()  # before setuptools is imported, which adds its own copies to the path
            devices = visible_devices(importlib.import_module("torch"))
            device = "cuda" if devices and all(each["arch_supported"] for each in devices) else "cpu"
            for package in (*NEEDED, *extras):
                importlib.import_module(package)
                if proof := PROOFS.get(package):
                    proof(device)
            package = "bitsandbytes"
            eight_bit = does_eight_bit(device)
            facts = found(packages, devices, device, eight_bit=eight_bit)
    except Exception as error:  # noqa: BLE001  whatever a native library throws is the answer asked for
        print(" ".join(f"{package}: {type(error).__name__}: {error}".split()), file=sys.stderr)
        return 1
    print(json.dumps(facts))
    return 0


def found(packages: dict[str, str], devices: list[dict[str, Any]], device: str, *, eight_bit: bool) -> dict[str, Any]:
    """Gather the facts to print, once every proof has passed."""
    torch = importlib.import_module("torch")
    return {
        "python": platform.python_version(),
        "bits": struct.calcsize("P") * 8,
        "packages": packages,
        "torch": {
            "version": torch.__version__,
            "cuda": torch.version.cuda,
            "cuda_available": torch.cuda.is_available(),
            "devices": devices,
        },
        "bf16": computes_bf16(device),
        "eight_bit": eight_bit,
    }


def installed() -> dict[str, str]:
    """Return every installed distribution and its version, by normalised name (PEP 503)."""
    named = (
        (re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
        for distribution in importlib.metadata.distributions()
        if (name := distribution.metadata["Name"])
    )
    return dict(sorted(named))


def visible_devices(torch: Any) -> list[dict[str, Any]]:  # noqa: ANN401  a module that may not be there
    """Describe each GPU that torch sees, in torch's order."""
    compiled = torch.cuda.get_arch_list()
    devices = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        capability = torch.cuda.get_device_capability(index)
        devices.append(
            {
                "name": torch.cuda.get_device_name(index),
                "capability": list(capability),
                "arch_supported": any(runs_on(arch, capability) for arch in compiled),
            }
        )
    return devices


def runs_on(arch: str, capability: Iterable[int]) -> bool:
    """Return whether code compiled for an arch such as `sm_86` runs on a GPU of this compute capability.

    Binary code (sm) runs on later minor versions of its own major version, intermediate code (compute) on everything
    later; code for an arch with a suffix letter runs on that one alone.
    """
    match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", arch)
    if match is None:
        return False
    form, suffix = match[1], match[4]
    compiled, device = (int(match[2]), int(match[3])), tuple(capability)
    if suffix:
        return compiled == device
    return compiled <= device and (form == "compute" or compiled[0] == device[0])


def computes_bf16(device: str) -> bool:
    """Return whether bfloat16 is at hand without emulation; on a CPU, whether it computes at all."""
    torch = importlib.import_module("torch")
    if device == "cuda":
        # Its own is_bf16_supported() counts emulation from torch 2.6 on; the first to have it is compute capability 8.
        return all(torch.cuda.get_device_capability(index) >= (8, 0) for index in range(torch.cuda.device_count()))
    ones = torch.ones(2, 2, dtype=torch.bfloat16)
    return bool((ones @ ones == 2).all())  # noqa: PLR2004  1 * 1 + 1 * 1


def prove_torch(device: str) -> None:
    """Multiply two matrices and take a gradient."""
    torch = importlib.import_module("torch")
    weight = torch.ones(8, 8, device=device, requires_grad=True)
    (weight @ torch.ones(8, 8, device=device)).sum().backward()
    expect(bool((weight.grad == 8).all()), "a gradient came out wrong")  # noqa: PLR2004  eight ones


def prove_torchvision(device: str) -> None:
    """Call an operator that torchvision brings as compiled code."""
    torch = importlib.import_module("torch")
    ops = importlib.import_module("torchvision.ops")
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]], device=device)
    kept = ops.nms(boxes, torch.tensor([0.9, 0.8], device=device), 0.5)
    expect(kept.tolist() == [0], "nms came out wrong")


def does_eight_bit(device: str) -> bool:
    """Return whether the 8-bit optimizer takes a step; on a GPU, where it must, its failure is raised."""
    try:
        prove_bitsandbytes(device)
    except Exception:
        if device == "cuda":
            raise
        return False
    return True


def prove_bitsandbytes(device: str) -> None:
    """Take one step with the 8-bit optimizer."""
    torch = importlib.import_module("torch")
    optim = importlib.import_module("bitsandbytes.optim")
    weight = torch.nn.Parameter(torch.ones(EIGHT_BIT_ELEMENTS, device=device))
    optimizer = optim.AdamW8bit([weight], lr=0.1)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    expect(bool(torch.isfinite(weight).all() and (weight < 1).all()), "AdamW8bit left the weights as they were")


def prove_safetensors(_device: str) -> None:
    """Write a tensor to bytes and read it back."""
    torch = importlib.import_module("torch")
    files = importlib.import_module("safetensors.torch")
    ones = torch.ones(2, 2, dtype=torch.bfloat16)
    expect(bool((files.load(files.save({"ones": ones}))["ones"] == 1).all()), "a tensor came back changed")


def prove_cv2(_device: str) -> None:
    """Shrink a picture."""
    cv2 = importlib.import_module("cv2")
    numpy = importlib.import_module("numpy")
    small = cv2.resize(numpy.full((8, 8, 3), 7, numpy.uint8), (4, 4), interpolation=cv2.INTER_AREA)
    expect(small.shape == (4, 4, 3) and bool((small == 7).all()), "resize came out wrong")  # noqa: PLR2004


def prove_xformers(device: str) -> None:
    """Attend with the compiled operator; it has one for GPUs alone."""
    torch = importlib.import_module("torch")
    ops = importlib.import_module("xformers.ops")
    if device == "cuda":
        ones = torch.ones(1, 8, 1, 64, device=device, dtype=torch.float16)
        expect(bool((ops.memory_efficient_attention(ones, ones, ones) == 1).all()), "attention came out wrong")


def prove_onnx(_device: str) -> None:
    """Write a model of one step and run it."""
    onnx, helper = importlib.import_module("onnx"), importlib.import_module("onnx.helper")
    runtime, numpy = importlib.import_module("onnxruntime"), importlib.import_module("numpy")
    given, answer = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "neg", [given], [answer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (negated,) = session.run(None, {"x": numpy.ones(2, numpy.float32)})
    expect(bool((negated == -1).all()), "a model came out wrong")


def prove_models(package: str, names: tuple[str, ...]) -> Callable[[str], None]:
    """Return a proof that a package's classes can be reached; they are imported only when first asked for."""

    def prove(_device: str) -> None:
        module = importlib.import_module(package)
        for name in names:
            getattr(module, name)

    return prove


def expect(right: bool, otherwise: str) -> None:
    """Raise unless a proof came out right."""
    if not right:
        raise RuntimeError(otherwise)


NEEDED = (
    "torch",
    "torchvision",
    "accelerate",
    "bitsandbytes",
    "transformers",
    "diffusers",
    "safetensors",
    "cv2",
)
PROOFS: dict[str, Callable[[str], None]] = {
    "torch": prove_torch,
    "torchvision": prove_torchvision,
    "accelerate": prove_models("accelerate", ("Accelerator",)),
    # What library/sdxl_model_util.py and library/train_util.py build models of.
    "transformers": prove_models("transformers", ("CLIPTextModel", "CLIPTextModelWithProjection", "CLIPTokenizer")),
    "diffusers": prove_models("diffusers", ("AutoencoderKL", "DDPMScheduler")),
    "safetensors": prove_safetensors,
    "cv2": prove_cv2,
    "xformers": prove_xformers,
    "lycoris": prove_models("lycoris.kohya", ("create_network",)),
    # Both of what finetune/tag_images_by_wd14_tagger.py imports for an ONNX model.
    "onnxruntime": prove_onnx,
}


if __name__ == "__main__":
    sys.exit(main())
