"""Run one of sd-scripts' training scripts and note what each step took.

    python observed.py REPORT SCRIPT [args...]      run in the sd-scripts checkout, by the training environment's Python
    python observed.py --count STEP REPORT SCRIPT [args...]    also count the operations of one step, from 1
    python observed.py --wait FILE REPORT SCRIPT [args...]     load what the script will, then wait until FILE is there

For scripts/measure_gpu.py and tests. SCRIPT may be another script of this folder, such as fast.py or scaled.py. REPORT,
a file, gets JSON however the script ends:

    device      name of the GPU, null without one
    losses      of each step, as they are given to the backward pass
    seconds     from each step's backward pass to the next one's, the GPU's work included
    loading     PyTorch's peaks while models are loaded, and pictures and captions cached: {"allocated": bytes,
                "reserved": bytes}; null where accelerate prepares no model
    before      the same up to the first backward pass, loading included
    training    the same from there on
    operations  what the counted step dispatched, apart from views, and what it launched as recorded graphs

Relied upon: accelerate's Accelerator.prepare, which sd-scripts calls after caching, and Accelerator.backward, which it
calls once for each batch.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any


def main(argv: list[str]) -> int:
    """Run the script in this process, and write down what each step took."""
    parser = argparse.ArgumentParser(prog="observed.py", description=__doc__.partition("\n")[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("--count", type=int, default=0, metavar="STEP")
    parser.add_argument("--wait", type=Path, metavar="FILE")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="SCRIPT ...")
    asked = parser.parse_args(argv)
    if not asked.command:
        parser.error("no SCRIPT is named")
    sys.path[0] = str(Path.cwd())  # where SCRIPT's own folder would stand if it were run directly
    if asked.wait:
        wait(asked.wait)
    watch = Watch(asked.count)
    sys.argv = asked.command
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        watch.stop()
        asked.report.write_text(json.dumps(watch.facts()), encoding="utf-8")
    return 0


def wait(turn: Path) -> None:
    """Do the slow imports, then wait for the file that says that the GPU is free."""
    for name in ("torch", "accelerate", "diffusers.models", "transformers", "library.train_util"):
        with contextlib.suppress(ImportError):  # the script itself will say so
            importlib.import_module(name)
    while not turn.exists():
        time.sleep(0.05)


class Watch:
    """Wraps Accelerator.backward."""

    def __init__(self, counted: int) -> None:
        self.torch: Any = importlib.import_module("torch")
        self.has_gpu = bool(self.torch.cuda.is_available())
        self.losses: list[float] = []
        self.times: list[float] = []
        self.loading: dict[str, int] | None = None
        self.before: dict[str, int] | None = None
        self.counted, self.counter = counted, None if not counted else counting(self.torch)
        accelerator = importlib.import_module("accelerate").Accelerator
        backward, prepare = accelerator.backward, accelerator.prepare

        def preparing(this: Any, *given: Any, **named: Any) -> Any:  # noqa: ANN401  accelerate's
            if self.loading is None and self.has_gpu:
                self.loading = self.peaks()
                self.torch.cuda.reset_peak_memory_stats()
            return prepare(this, *given, **named)

        def watched(this: Any, loss: Any, **named: Any) -> Any:  # noqa: ANN401  accelerate's
            if not self.times and self.has_gpu:
                now, loading = self.peaks(), self.loading or {}
                self.before = {name: max(now[name], loading.get(name, 0)) for name in now}
                self.torch.cuda.reset_peak_memory_stats()
            found = backward(this, loss, **named)
            self.losses.append(float(loss.detach()))  # waits for the GPU, as the script itself does in each step
            self.times.append(time.perf_counter())
            self.count()
            return found

        accelerator.backward, accelerator.prepare = watched, preparing

    def count(self) -> None:
        """Count from the end of the previous step's backward pass to the end of this step's."""
        if self.counter is None:
            return
        if len(self.times) == self.counted - 1:
            self.counter.__enter__()
        elif len(self.times) == self.counted:
            self.stop()

    def stop(self) -> None:
        """Stop counting."""
        if self.counter is not None and self.counter.is_on:
            self.counter.__exit__(None, None, None)

    def peaks(self) -> dict[str, int]:
        """PyTorch's peak of allocated and reserved memory since the last reset."""
        cuda = self.torch.cuda
        return {"allocated": cuda.max_memory_allocated(), "reserved": cuda.max_memory_reserved()}

    def facts(self) -> dict[str, object]:
        """Everything observed."""
        return {
            "device": self.torch.cuda.get_device_name() if self.has_gpu else None,
            "torch": str(self.torch.__version__),
            "losses": self.losses,
            "seconds": [round(after - before, 5) for before, after in zip(self.times, self.times[1:], strict=False)],
            "loading": self.loading,
            "before": self.before,
            "training": self.peaks() if self.has_gpu else None,
            "operations": None if self.counter is None else self.counter.found,
        }


def counting(torch: Any) -> Any:  # noqa: ANN401  torch is only known where it is installed
    """A mode that counts operations that launch a kernel, so not views and empty tensors."""
    modes = importlib.import_module("torch.utils._python_dispatch")

    class Counter(modes.TorchDispatchMode):  # type: ignore[misc, name-defined]  a class of the training side
        def __init__(self) -> None:
            super().__init__()
            self.found = {"dispatched": 0, "graphs": 0}
            self.is_on = False
            self.replay = torch.cuda.CUDAGraph.replay

        def __enter__(self) -> Any:  # noqa: ANN401
            self.is_on, found, replay = True, self.found, self.replay

            def counted(graph: Any) -> None:  # noqa: ANN401
                found["graphs"] += 1
                replay(graph)

            torch.cuda.CUDAGraph.replay = counted
            return super().__enter__()

        def __exit__(self, *error: object) -> None:
            self.is_on = False
            torch.cuda.CUDAGraph.replay = self.replay
            super().__exit__(*error)

        def __torch_dispatch__(self, function: Any, types: Any, inputs: Any = (), named: Any = None) -> Any:  # noqa: ANN401  torch's
            name = function.name()
            is_view = function.is_view or name.startswith(("aten::empty", "aten::detach", "aten::_unsafe_view"))
            self.found["dispatched"] += 0 if is_view else 1
            return function(*inputs, **(named or {}))

    return Counter()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
