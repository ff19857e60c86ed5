"""Exercise what runs of the training environment need, and compare its packages' files with what was installed.

    python doctor.py EXERCISE [EXERCISE...]         run in the sd-scripts checkout, by the training environment's Python

    {"python": "3.11.7", "torch": null or as probe.py tells it,
     "packages": {name: {"version": "2.4.6", "requires": ["torch>=2", ...], "hidden": ["1.26.4", ...]}},
     "files": {name: [{"file": "numpy/core/x.py", "fault": "empty"}, ...]},
     "exercises": {EXERCISE: {"seconds": 0.1, "error": null, "slow": null, "left_out": null}}}

Error, slow and left_out are words where they are not null; hidden are versions of further copies of a package, such as
those that setuptools brings. Faults of a file are missing, empty, zeros, broken (code that can't be what was installed)
and changed (code that still compiles, or no code).

The exercises run in a child, one after the other: one that crashes or hangs has that as its error, and another child
goes on with the rest. On a machine without a GPU, or where torch has no code for it, those that only a GPU can show are
left out.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import importlib
import importlib.metadata
import json
import os
import platform
import re
import runpy
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PROBE = runpy.run_path(str(Path(__file__).with_name("probe.py")))
MOST_SECONDS = 300.0
"""An exercise that takes longer has hung: the slowest compiles, or imports torch from a cold disk."""
TICK_SECONDS = 0.1
HASHED_BYTES = 256 * 1024
"""Larger files but code are judged by size and beginning: all of torch and CUDA takes a minute from a cold disk."""
BEGINNING_BYTES = 4096
MOST_FAULTS = 20
"""Files that are named for each package."""
BINARY = (".so", ".pyd", ".dll", ".dylib")
ATTENTION_TOKENS = 1024


def main(argv: list[str]) -> int:
    """Print all answers as one JSON object."""
    if argv[:1] == ["--child"]:
        sys.path[0] = str(Path.cwd())  # the files beside this one must not stand for modules of the same name
        return run_here(Path(argv[1]), argv[2:])
    if not argv or argv[0] in {"-h", "--help"} or set(argv) - set(EXERCISES):
        print(f"usage: doctor.py EXERCISE [EXERCISE...], of {' '.join(EXERCISES)}", file=sys.stderr)
        return 0 if argv[:1] in (["-h"], ["--help"]) else 2
    packages, faults = look_at_packages()
    told = run_apart(argv)
    print(
        json.dumps(
            {
                "python": platform.python_version(),
                "torch": told.pop("", {}).get("torch"),
                "packages": packages,
                "files": faults,
                "exercises": told,
            }
        )
    )
    return 0


def look_at_packages() -> tuple[dict[str, Any], dict[str, Any]]:
    """Describe every installed distribution, and name files of them that are not as installed."""
    packages: dict[str, Any] = {}
    faults: dict[str, Any] = {}
    own = Path(sys.prefix).resolve()
    vendored = [str(Path(path) / "setuptools" / "_vendor") for path in sys.path]
    for distribution in importlib.metadata.distributions(path=[*sys.path, *vendored]):
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        is_vendored = Path(str(distribution.locate_file(""))).name == "_vendor"
        if name in packages:  # the first on the path is the one that is imported
            packages[name]["hidden"].append(distribution.version)
        if not name or name in packages or is_vendored:
            continue
        requires = distribution.requires or []
        packages[name] = {"version": distribution.version or "", "requires": requires, "hidden": []}
        folder = Path(str(distribution.locate_file("")))
        if own not in folder.resolve().parents:  # another Python's, which is not ours to mend
            continue
        found = [{"file": file, "fault": fault} for file, fault in faults_of(distribution, folder)]
        if found:
            faults[name] = found[:MOST_FAULTS]
    return packages, faults


def faults_of(distribution: Any, folder: Path) -> Iterator[tuple[str, str]]:  # noqa: ANN401  a distribution of any Python
    """Compare a distribution's files with the list that came with it."""
    for row in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
        if len(row) != 3 or not row[1] or row[0].startswith(".."):  # noqa: PLR2004  name, hash, size; scripts are rewritten
            continue
        name, digest, size = row
        fault = fault_of(folder / name, digest, int(size or -1))
        if fault is not None:
            yield name, fault


def fault_of(path: Path, digest: str, size: int) -> str | None:
    """Tell how a file differs from what was installed, or None."""
    try:
        found = path.stat().st_size
        is_read = found <= HASHED_BYTES or path.suffix == ".py"
        with path.open("rb") as file:
            content = file.read() if is_read else file.read(BEGINNING_BYTES)
    except OSError:
        return "missing"
    kind, _, wanted = digest.partition("=")
    own = base64.urlsafe_b64encode(hashlib.new(kind, content).digest()).rstrip(b"=").decode() if is_read else None
    if found == 0:
        return None if size == 0 else "empty"
    if not content.strip(b"\0") and own != wanted:  # what a power cut leaves
        return "zeros"
    is_same = own == wanted if is_read else found == size
    return None if is_same else changed(path, content)


def changed(path: Path, content: bytes) -> str:
    """Tell broken code from a file that somebody may have changed."""
    if path.suffix == ".py":
        try:
            compile(content, str(path), "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return "broken"
    return "broken" if path.suffix in BINARY else "changed"


def run_apart(names: list[str]) -> dict[str, Any]:
    """Run the exercises in children. One that a child does not survive is named, and the next child has the rest."""
    left, told = list(names), dict[str, Any]()
    with tempfile.TemporaryDirectory(prefix="sdxl-train-doctor-") as folder:
        while left:
            answers = Path(folder) / str(len(left))
            how = watch(answers, left)
            lines = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines() if line]
            told |= {line["name"]: line for line in lines if "seconds" in line}
            rest = [name for name in left if name not in told]
            if rest and (how or rest == left):
                died = rest.pop(0)
                told[died] = answer(died, 0.0, error=how or "ended without an answer")
            left = rest
            if "torch" in told and told["torch"]["error"]:
                left = [name for name in left if name not in NEED_TORCH]
    return told


def watch(answers: Path, names: list[str]) -> str:
    """Run a child to its end and tell how it ended; nothing if it ended well. A child that hangs is killed."""
    answers.touch()
    argv = [sys.executable, str(Path(__file__)), "--child", str(answers), *names]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=sys.stderr) as child:  # noqa: S603  our own script
        size, since = 0, time.monotonic()
        while child.poll() is None:
            time.sleep(TICK_SECONDS)
            if answers.stat().st_size != size:
                size, since = answers.stat().st_size, time.monotonic()
            elif time.monotonic() - since > MOST_SECONDS:
                child.kill()
                return f"did not end in {MOST_SECONDS:.0f} seconds"
    if child.returncode < 0:
        return f"ended by {signal.Signals(-child.returncode).name}"
    return f"ended with exit code {child.returncode}" if child.returncode else ""


def run_here(answers: Path, names: list[str]) -> int:
    """Run exercises and add an answer for each to the file, before the next can end this process.

    An error may leave a GPU's context of no use to this process: another one has the rest.
    """
    device = ""
    with answers.open("a", encoding="utf-8") as file:
        for name in names:
            began = time.monotonic()
            if name in NEED_TORCH and not device:
                device, told = choose_device()
                if told:
                    file.write(json.dumps(told) + "\n")
            told = tried(name, device or "cpu", began)
            file.write(json.dumps(told) + "\n")
            file.flush()
            if told["error"] and (device == "cuda" or name == "torch"):
                break
    return 0


def choose_device() -> tuple[str, dict[str, Any] | None]:
    """Return the device to exercise and what torch says of the GPUs; nothing where torch does not import."""
    try:
        torch = importlib.import_module("torch")
        devices = PROBE["visible_devices"](torch)
    except Exception:  # noqa: BLE001  the exercise named torch says why
        return "", None
    told = {"version": torch.__version__, "cuda": torch.version.cuda, "cuda_available": torch.cuda.is_available()}
    device = "cuda" if devices and all(each["arch_supported"] for each in devices) else "cpu"
    return device, {"name": "", "seconds": 0.0, "torch": {**told, "devices": devices}}


def tried(name: str, device: str, began: float) -> dict[str, Any]:
    """Run one exercise. Importing torch counts for the first that needs it."""
    if name in NEED_GPU and device != "cuda":
        return answer(name, 0.0, left_out="no GPU")
    if name.endswith("_bf16") and device == "cuda" and bf16_is_emulated():
        return answer(name, 0.0, left_out="this GPU has no bf16")
    try:
        slow = EXERCISES[name](device)
        if device == "cuda":
            importlib.import_module("torch").cuda.synchronize()
    except BaseException as error:  # noqa: BLE001  whatever a native library throws is the answer asked for
        words = " ".join(f"{type(error).__name__}: {error}".split())
        return answer(name, time.monotonic() - began, error=words[:500])
    return answer(name, time.monotonic() - began, slow=slow)


def answer(name: str, seconds: float, **words: str | None) -> dict[str, Any]:
    """Describe one exercise as it is printed."""
    return {"name": name, "seconds": round(seconds, 2), "error": None, "slow": None, "left_out": None, **words}


def bf16_is_emulated() -> bool:
    """Return whether a GPU has no bfloat16 of its own."""
    return not PROBE["computes_bf16"]("cuda")


def bridge_numpy(_device: str) -> None:
    """Hand an array to torch and take it back."""
    torch, numpy = importlib.import_module("torch"), importlib.import_module("numpy")
    back = torch.from_numpy(numpy.full(4, 3.0, numpy.float32)).mul(2).numpy()
    PROBE["expect"](bool((back == 6).all()), "an array came back changed")  # noqa: PLR2004  3 * 2


def attend(dtype: str) -> Callable[[str], str | None]:
    """Return an exercise: attention forward and backward in one dtype, as sd-scripts' --sdpa computes it."""

    def exercise(device: str) -> str | None:
        torch = importlib.import_module("torch")
        shape = (1, 2, ATTENTION_TOKENS, 64)
        given = [torch.randn(shape, device=device, dtype=getattr(torch, dtype)).requires_grad_() for _ in range(3)]
        attention = torch.nn.functional.scaled_dot_product_attention
        result = attention(*given)
        result.float().sum().backward()
        finite = bool(torch.isfinite(result).all()) and all(bool(torch.isfinite(one.grad).all()) for one in given)
        PROBE["expect"](finite, "attention gave NaN")
        return None if device == "cpu" or dtype == "float32" else plain_attention_alone(given)

    return exercise


def plain_attention_alone(given: list[Any]) -> str | None:
    """Say so where none of the kernels works that save memory."""
    torch = importlib.import_module("torch")
    try:
        kernels = importlib.import_module("torch.nn.attention")
        with kernels.sdpa_kernel([kernels.SDPBackend.FLASH_ATTENTION, kernels.SDPBackend.EFFICIENT_ATTENTION]):
            torch.nn.functional.scaled_dot_product_attention(*given)
    except ImportError:  # torch before 2.3
        return None
    except RuntimeError:
        return "only the plain kernel works, which takes more time and memory"
    return None


def attend_xformers(device: str) -> None:
    """Attend forward and backward with xformers' kernel, which is for GPUs alone."""
    torch, ops = importlib.import_module("torch"), importlib.import_module("xformers.ops")
    shape = (1, ATTENTION_TOKENS, 2, 64)
    given = [torch.randn(shape, device=device, dtype=torch.float16, requires_grad=True) for _ in range(3)]
    ops.memory_efficient_attention(*given).float().sum().backward()
    PROBE["expect"](all(bool(torch.isfinite(one.grad).all()) for one in given), "a gradient is NaN")


def encode(dtype: str) -> Callable[[str], None]:
    """Return an exercise: a small VAE of diffusers encodes a picture, forward alone as sd-scripts does."""

    def exercise(device: str) -> None:
        torch = importlib.import_module("torch")
        vae = importlib.import_module("diffusers").AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(32, 64), latent_channels=4,
        )  # fmt: skip
        kind = getattr(torch, dtype)
        vae = vae.to(device, kind).eval()
        with torch.no_grad():
            latents = vae.encode(torch.rand(1, 3, 64, 64, device=device, dtype=kind)).latent_dist.sample()
        PROBE["expect"](bool(torch.isfinite(latents).all()), "the latents are NaN")

    return exercise


def cast_fp8(device: str) -> None:
    """Store numbers in 8 bits and compute with them in 16, as --fp8_base does."""
    torch = importlib.import_module("torch")
    stored = torch.tensor([0.5, 1.0, -2.0], device=device).to(torch.float8_e4m3fn)
    PROBE["expect"](stored.to(torch.float16).tolist() == [0.5, 1.0, -2.0], "fp8 came back changed")


def compile_c(_device: str) -> None:
    """Compile a file that includes Python's headers, as triton does for its launchers."""
    named = os.environ.get("CC")
    compiler = next(filter(None, map(shutil.which, filter(None, (named, "gcc", "cc", "clang", "cl")))), None)
    if compiler is None:
        raise FileNotFoundError("no C compiler")
    headers = sysconfig.get_paths()["include"]
    with tempfile.TemporaryDirectory(prefix="sdxl-train-doctor-") as folder:
        source = Path(folder) / "tried.c"
        source.write_text("#include <Python.h>\nint tried(void) { return 0; }\n", encoding="utf-8")
        options = ["/c", f"/I{headers}"] if Path(compiler).stem.lower() == "cl" else ["-c", "-fPIC", f"-I{headers}"]
        argv = [compiler, *options, source.name]
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, errors="replace")  # noqa: S603  as above
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if "error" in line]
        raise RuntimeError(lines[0] if lines else f"{compiler} ended with exit code {done.returncode}")


def compile_kernel(device: str) -> None:
    """Let torch compile a function: triton makes its kernel."""
    torch = importlib.import_module("torch")
    ones = torch.ones(64, device=device)
    PROBE["expect"](bool((torch.compile(lambda x: torch.sin(x) * 2)(ones) > 1).all()), "a kernel came out wrong")


def import_trainer(_device: str) -> None:
    """Import what a run of a LoRA or of the whole U-Net begins with."""
    for module in ("sdxl_train_network", "sdxl_train", "networks.lora"):
        with contextlib.redirect_stdout(sys.stderr):
            importlib.import_module(module)


def prove(package: str) -> Callable[[str], None]:
    """Return an exercise: import a package and run probe.py's proof of it."""

    def exercise(device: str) -> None:
        importlib.import_module(package)
        proof = PROBE["PROOFS"].get(package)
        if proof is not None:
            proof(device)

    return exercise


PACKAGES = (
    "torch", "torchvision", "bitsandbytes", "accelerate", "transformers", "diffusers", "safetensors", "cv2",
    "lycoris", "onnxruntime",
)  # fmt: skip
EXERCISES: dict[str, Callable[[str], str | None]] = {
    **{name: prove(name) for name in PACKAGES},
    "numpy": bridge_numpy,
    "trainer": import_trainer,
    "sdpa_fp32": attend("float32"),
    "sdpa_fp16": attend("float16"),
    "sdpa_bf16": attend("bfloat16"),
    "xformers": attend_xformers,
    "eight_bit": PROBE["prove_bitsandbytes"],
    "vae_fp16": encode("float16"),
    "vae_bf16": encode("bfloat16"),
    "fp8": cast_fp8,
    "compiler": compile_c,
    "triton": compile_kernel,
}
NEED_TORCH = set(EXERCISES) - {"compiler"}
NEED_GPU = {"sdpa_fp16", "xformers", "vae_fp16", "fp8", "triton"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
