"""Measure what CUDA's context takes of each GPU: what the driver gives a process, less what PyTorch reserves.

    python probe_context.py                  {"contexts_gib": {"NVIDIA GeForce RTX 3090": 0.41}}
    python probe_context.py --hold DEVICE    do what training does, print the bytes that PyTorch reserves, and wait

A second process does a little of what training does, since kernels are loaded as they are first used. This one asks
the driver what is free before, meanwhile and after. It needs no figure by process, which Windows and containers lack.
A GPU whose memory other programs changed meanwhile is left out; two of the same name count as one.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

GIB = 2**30
STEADY = 32 * 2**20
"""Bytes by which free memory may differ afterwards."""
TRIES = 3
EIGHT_BIT_ELEMENTS = 64 * 64
"""bitsandbytes keeps the state of smaller tensors in 32 bits."""


def main() -> int:
    """Print the contexts, or be the second process."""
    parser = argparse.ArgumentParser(prog="probe_context.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--hold", metavar="DEVICE", help="be the second process on this device, such as cuda:0")
    held = parser.parse_args().hold
    sys.path[0] = str(Path.cwd())  # the files beside this one must not stand for modules of the same name
    if held is not None:
        return hold(held)
    with contextlib.redirect_stdout(sys.stderr):
        cuda = importlib.import_module("torch").cuda
        found = dict[str, float]()
        for index in range(cuda.device_count() if cuda.is_available() else 0):
            argv = [sys.executable, str(Path(__file__).resolve()), "--hold", f"cuda:{index}"]
            taken = context_bytes(lambda at=index: int(cuda.mem_get_info(at)[0]), argv)
            if taken is not None:
                found[cuda.get_device_name(index)] = round(taken / GIB, 3)
    print(json.dumps({"contexts_gib": found}))
    return 0


def context_bytes(free: Callable[[], int], argv: Sequence[str]) -> int | None:
    """Bytes that the process of argv takes beside what it says that PyTorch reserves. None if they can't be told."""
    for _ in range(TRIES):
        before = free()
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603
            assert child.stdout is not None  # noqa: S101  a pipe was asked for
            reserved = child.stdout.readline().strip()
            meanwhile = free()
            child.communicate()  # ends its waiting
        if not reserved.isdecimal() or child.returncode != 0:
            return None
        taken = before - meanwhile - int(reserved)
        if abs(free() - before) <= STEADY and taken > 0:
            return taken
    return None


def hold(device: str) -> int:
    """Train a small layer of each sort on the device, print what PyTorch reserves, and wait for the end of stdin."""
    with contextlib.redirect_stdout(sys.stderr):
        torch = importlib.import_module("torch")
        functional = torch.nn.functional
        weight = torch.nn.Parameter(torch.ones(EIGHT_BIT_ELEMENTS, device=device))
        with torch.autocast(torch.device(device).type, dtype=torch.float16 if device != "cpu" else torch.bfloat16):
            pixels = functional.conv2d(weight.view(1, 64, 8, 8), torch.ones(64, 64, 3, 3, device=device), padding=1)
            words = functional.linear(functional.group_norm(pixels, 8).view(1, 1, 64, 64), weight.view(64, 64))
            loss = functional.mse_loss(functional.scaled_dot_product_attention(words, words, words), words)
        loss.float().backward()
        if device != "cpu":
            importlib.import_module("bitsandbytes.optim").AdamW8bit([weight], lr=0.1).step()
            torch.cuda.synchronize(device)
        reserved = torch.cuda.memory_reserved(device) if device != "cpu" else 0
    print(reserved, flush=True)
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
