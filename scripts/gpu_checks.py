"""Check on the GPU that is here what only a real GPU can show: a table of what passed and what failed.

    python scripts/gpu_checks.py --minutes 10                all checks, the quick ones side by side where they fit
    python scripts/gpu_checks.py --only oom-step-down        one of them; --list names all

Run with a Python that has sdxl_train_cli, after `sdxl-train setup`. Each check starts the command as a person would, on
a model of SDXL's true shapes and random weights (6.9 GB in a temporary folder, or in --work). What the command said
stands under --output, a file for each check, and results.jsonl gets a line as soon as a check has ended. Exit code 1
where one failed, or was not begun in time. A check that memory runs out puts a ballast beside the run: GPU memory that
another process holds.

WITHOUT A GPU only a stand-in trainer can show the way (a setup from tests/standin): what needs a GPU is skipped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from sdxl_train_cli import gpu, process
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import SdxlTrainError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.run import preparation, smoke
from sdxl_train_cli.run.smoke import SmokeMaterial, SmokeSize

PASSED, FAILED, SKIPPED, NOT_BEGUN = "passed", "FAILED", "skipped", "not begun"
GONE_SECONDS = 20.0
"""Time limit for the driver to stop listing a killed process."""
PATIENCE_SECONDS = 240.0
"""Time limit for an expected step."""
STEP_DOWN_GIB, FIT_GIB = 17.0, 26.0
"""Memory that a ballast leaves: dim32 fits with one picture but not two, and with two but not three."""


class CheckFailedError(Exception):
    """A check's expectation was not met. The message says which."""


class SkippedError(Exception):
    """This machine can't run the check."""


@dataclass(frozen=True)
class Bench:
    """Environment of the checks."""

    home: Home
    installed: Environment
    device: Gpu | None
    material: SmokeMaterial
    folder: Path
    logs: Path
    started: list[Command] = field(default_factory=list)
    """Commands of the current check, which end with it."""

    @property
    def data(self) -> list[str]:
        """Arguments common to every run."""
        return [
            "--model", str(self.material.model), "--data", str(self.material.pictures),
            "--output", str(self.folder / "runs"), *([] if self.device else ["--no-vram-check"]),
        ]  # fmt: skip

    def need_gpu(self, gib: float = 0) -> Gpu:
        """Skip the check if there is no GPU, or not enough of it."""
        if self.device is None:
            raise SkippedError("no GPU")
        if self.device.free_gib < gib:
            raise SkippedError(f"needs {gib:.0f} GB free, and {self.device.free_gib:.0f} GB are")
        return self.device


@dataclass(frozen=True)
class Check:
    """One check. Several run at once if their memory allows."""

    name: str
    shows: str
    carry_out: Callable[[Bench, str], str]
    gib: float
    """Maximum GPU memory."""
    is_alone: bool = False


def main() -> int:
    """Run the checks and print the table."""
    options = arguments()
    if options.list:
        for check in CHECKS:
            print(f"{check.name:16} {check.shows}")
        return 0
    started = time.monotonic()
    wanted = [check for check in CHECKS if not options.only or check.name in options.only]
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="sdxl-train-checks-") as name:
            bench = prepare(options, Path(name))
            results = [*side_by_side(wanted, bench, options, started)]
            results += [
                run_check(check, bench, options.output, started + 60 * options.minutes)
                for check in wanted
                if check.is_alone
            ]
    except SdxlTrainError as error:
        for problem in error.problems:
            print(f"error: {problem}\nhint:  {problem.hint or ''}", file=sys.stderr)
        return error.exit_code
    print("\n| check | result | seconds | what was seen |\n| --- | --- | --- | --- |")
    for result in results:
        print(f"| {result['check']} | {result['result']} | {result['seconds']} | {result['seen']} |")
    return 1 if any(result["result"] in {FAILED, NOT_BEGUN} for result in results) else 0


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("gpu_checks"), help="a folder for what the runs say")
    parser.add_argument("--minutes", type=float, default=10.0, help="start no check after this many")
    parser.add_argument("--only", action="append", choices=[check.name for check in CHECKS])
    parser.add_argument("--list", action="store_true", help="name the checks")
    parser.add_argument("--gpu", type=int, help="as in nvidia-smi [default: the one with most free memory]")
    parser.add_argument("--home", type=Path, help="the home of sdxl-train")
    parser.add_argument("--work", type=Path, help="keep the model here, 6.9 GB, for next time")
    return parser.parse_args()


def prepare(options: argparse.Namespace, folder: Path) -> Bench:
    """Find the GPU and create the model."""
    home = Home.find(options.home, os.environ)
    installed = environment.require(home)
    device = preparation.choose_device(options.gpu)
    if device is None and installed.trains:
        raise SdxlTrainError(
            "no GPU was found", "without a GPU, a setup of the stand-in in tests/standin shows how it works"
        )
    there = (options.work or folder) / "material"
    if not (there / "model.safetensors").is_file():
        print("making a model of random weights", file=sys.stderr, flush=True)
        made = smoke.make_material(installed, there, SmokeSize(1, scaled=False, gpu_index=device and device.index))
    else:
        made = SmokeMaterial(there / "model.safetensors", there / "tokenizers", there / "pictures")
    return Bench(home, installed, device, made, folder, options.output.resolve())


def side_by_side(
    wanted: list[Check], bench: Bench, options: argparse.Namespace, started: float
) -> Iterator[dict[str, object]]:
    """Run the checks that tolerate others, as many at once as memory allows."""
    shared = [check for check in wanted if not check.is_alone]
    room = MemoryBudget(bench.device.free_gib if bench.device else 0.0)
    deadline = started + 60 * options.minutes

    def in_turn(check: Check) -> dict[str, object]:
        with room.of(check.gib):
            return run_check(check, bench, options.output, deadline)

    with ThreadPoolExecutor(max(1, len(shared))) as pool:
        yield from (done.result() for done in as_completed([pool.submit(in_turn, check) for check in shared]))


class MemoryBudget:
    """GPU memory shared by checks. A check that needs more than there is waits until it is alone."""

    def __init__(self, gib: float) -> None:
        self._whole = self._left = gib
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def of(self, gib: float) -> Iterator[None]:
        """Wait for memory, and release it afterwards."""
        taken = min(gib, self._whole)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= taken)
            self._left -= taken
        try:
            yield
        finally:
            with self._changed:
                self._left += taken
                self._changed.notify_all()


def run_check(check: Check, bench: Bench, output: Path, deadline: float) -> dict[str, object]:
    """Run a check and record its result."""
    began = time.monotonic()
    bench = replace(bench, started=[])
    if began > deadline:
        result, seen = NOT_BEGUN, "the time is over"
    else:
        try:
            result, seen = PASSED, check.carry_out(bench, check.name)
        except SkippedError as reason:
            result, seen = SKIPPED, str(reason)
        except CheckFailedError as reason:
            result, seen = FAILED, str(reason)
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired, psutil.Error) as error:
            result, seen = FAILED, f"{type(error).__name__}: {error}"
        finally:
            for command in bench.started:
                command.end()
    if result == FAILED:
        for log in bench.folder.glob(f"runs/{check.name}*/train.log"):
            shutil.copy(log, output / f"{log.parent.name}.log")
    facts = {"check": check.name, "result": result, "seconds": round(time.monotonic() - began), "seen": seen}
    with (output / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(facts, ensure_ascii=False) + "\n")
    print(f"{result:8} {check.name}: {seen}", file=sys.stderr, flush=True)
    return facts


class Command:
    """A command started as a user would, with its output in a file."""

    def __init__(self, bench: Bench, log: str, *arguments: str) -> None:
        self.log = bench.logs / f"{log}.txt"
        with self.log.open("ab") as file:
            file.write(f"\n$ sdxl-train {' '.join(arguments)}\n".encode())
            file.flush()
            self.began_at = file.tell()
            self.child = subprocess.Popen(
                [sys.executable, "-m", "sdxl_train_cli", *arguments],
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, cwd=bench.folder,
                env={**os.environ, "COLUMNS": "110", "SDXL_TRAIN_HOME": str(bench.home.path)},
            )  # fmt: skip
        self._seen = {psutil.Process(self.child.pid)}
        bench.started.append(self)

    @property
    def said(self) -> str:
        """The output so far."""
        return self.log.read_bytes()[self.began_at :].decode("utf-8", "replace")

    def wait(self, expected: int, *words: str) -> str:
        """Wait for the end. CheckFailedError for another exit code, or if expected output is missing."""
        code = self.child.wait(timeout=2 * PATIENCE_SECONDS)
        said = " ".join(self.said.split())
        if code != expected:
            raise CheckFailedError(f"exit code {code}, not {expected}: {said[-400:]}")
        for word in words:
            if word not in said:
                raise CheckFailedError(f"did not say {word!r}: {said[-400:]}")
        return said

    def until_step(self, step: int) -> None:
        """Wait for a step. The command must have been started with --json."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self.last_step() < step:
            if self.child.poll() is not None or time.monotonic() > end:
                raise CheckFailedError(f"did not come to step {step}: {' '.join(self.said.split())[-400:]}")
            time.sleep(0.1)

    def last_step(self) -> int:
        """The last reported step, or 0."""
        lines = [line for line in self.said.splitlines() if line.startswith("{") and '"step"' in line]
        events = [json.loads(line) for line in lines]
        return max((int(event["step"]) for event in events if event.get("step") is not None), default=0)

    def processes(self) -> list[psutil.Process]:
        """The trainer's processes while the command runs."""
        found = psutil.Process(self.child.pid).children(recursive=True)
        self._seen |= set(found)
        return found

    def all_processes(self) -> list[psutil.Process]:
        """All processes that the trainer has had when the command ends."""
        found, end = set[psutil.Process](), time.monotonic() + 2 * PATIENCE_SECONDS
        while self.child.poll() is None and time.monotonic() < end:
            found |= set(self.processes())
            time.sleep(0.1)
        return list(found)

    def end(self) -> None:
        """Kill everything that the command started."""
        with contextlib.suppress(psutil.Error):
            self.processes()
        for one in self._seen:
            with contextlib.suppress(psutil.Error):
                one.kill()
        self.child.wait()


def require_gone(bench: Bench, processes: list[psutil.Process]) -> str:
    """Wait until neither the machine nor the driver lists these processes. Returns how long that took."""
    if not processes:
        raise CheckFailedError("no process of the trainer was seen")
    began, pids = time.monotonic(), {child.pid for child in processes}
    meter = gpu.Meter(bench.device.index) if bench.device else None
    try:
        while time.monotonic() < began + GONE_SECONDS:
            alive = {child.pid for child in processes if child.is_running() and child.status() != psutil.STATUS_ZOMBIE}
            on_gpu = pids & set(meter.read().by_process) if meter else set()
            if not alive and not on_gpu:
                return f"{len(pids)} processes gone after {time.monotonic() - began:.1f} s"
            time.sleep(0.1)
    finally:
        if meter:
            meter.close()
    raise CheckFailedError(f"after {GONE_SECONDS:.0f} s these still live: {alive}, on the GPU: {on_gpu}")


@contextlib.contextmanager
def ballast(bench: Bench, leaves_gib: float) -> Iterator[None]:
    """Occupy GPU memory from another process so that this much is left. Does nothing if no more is free."""
    device = bench.need_gpu(leaves_gib)
    now = next(found for found in gpu.devices() if found.index == device.index)
    held = int((now.free_gib - leaves_gib - CONTEXT_GIB) * gpu.GIB)
    if held <= 0:
        yield
        return
    code = f"import torch; held = torch.empty({held}, dtype=torch.uint8, device='cuda'); print('held', flush=True)"
    child = subprocess.Popen(
        [str(bench.installed.python), "-c", f"{code}; input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(device.index)},
    )  # fmt: skip
    try:
        if child.stdout is None or child.stdout.readline().strip() != b"held":
            raise CheckFailedError("the ballast could not be held")
        yield
    finally:
        child.kill()
        child.communicate()


CONTEXT_GIB = 0.8
"""Memory of a CUDA process before its first tensor."""


def refusal(bench: Bench, name: str) -> str:
    """Too large a batch exits with 6 before anything starts."""
    imagined = [] if bench.device else ["--gpu-memory", "12", "--dry-run"]
    data = [word for word in bench.data if word != "--no-vram-check"]
    large = ["--preset", "dim32", "--batch-size", "64"]
    said = Command(bench, name, "lora", *large, *data, "--name", name, *imagined).wait(6)
    if (bench.folder / "runs" / name).exists():
        raise CheckFailedError("a run's folder was made")
    return said.partition("error: ")[2][:160]


def training(bench: Bench, name: str) -> str:
    """A complete run: file, samples, history, and a measurement for the next check."""
    prompts = bench.folder / "prompts.txt"
    prompts.write_text("a red circle --w 1024 --h 1024 --s 4 --d 1\n", encoding="utf-8")
    sampling = [
        "--set",
        f"sample_prompts={prompts}",
        "--set",
        "sample_every_n_steps=6",
        "--set",
        "sample_sampler=euler_a",
    ]
    run = Command(bench, name, "lora", "--preset", "dim32-gc", *bench.data, "--name", name, "--steps", "12", *sampling)
    run.wait(0)
    folder = bench.folder / "runs" / name
    outcome = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    samples = len(list(folder.glob("sample/*.png")))
    if not (folder / f"{name}.safetensors").is_file() or samples != (0 if bench.device is None else 2):
        raise CheckFailedError(f"{samples} samples of 2; {sorted(path.name for path in folder.iterdir())}")
    Command(bench, name, "runs", "show", name, "--output", str(folder.parent)).wait(0, "done")
    peak = outcome.get("peak_gib")
    if bench.device:
        Command(bench, name, "vram", "--mine").wait(0, "LoRA 32, gc")
        if peak is None:
            raise CheckFailedError("no peak of GPU memory in the record")
    return f"12 steps, {samples} samples, peak {peak} GB"


def eight_bits(bench: Bench, name: str) -> str:
    """The base model in fp8."""
    bench.need_gpu()
    Command(bench, name, "lora", "--preset", "dim32-fp8-gc", *bench.data, "--name", name, "--steps", "6").wait(0)
    return "6 steps with fp8_base"


def examined(bench: Bench, name: str) -> str:
    """The doctor's exercises, those for GPUs too."""
    bench.need_gpu()
    said = Command(bench, name, "doctor").wait(0, "ok VAE: a picture encoded in fp16")
    if "no GPU" in said:
        raise CheckFailedError(f"left out what needs a GPU: {said[-400:]}")
    return "every exercise done on the GPU, nothing broken"


def two_at_once(bench: Bench, name: str) -> str:
    """Two runs share the GPU."""
    runs = [
        Command(bench, f"{name}-{number}", "lora", "--preset", "dim32-bf16-gc", *bench.data,
                "--name", f"{name}-{number}", "--steps", "8")
        for number in (1, 2)
    ]  # fmt: skip
    for run in runs:
        run.wait(0)
    return "both done"


def not_a_number(bench: Bench, name: str) -> str:
    """Half precision and an absurd learning rate: the guard stops the run and says why."""
    bench.need_gpu()
    absurd = ("mixed_precision=fp16", "learning_rate=1000.0", "lr_warmup_steps=0", "max_grad_norm=0.0")
    settings = [word for setting in absurd for word in ("--set", setting)]
    run = Command(bench, name, "lora", "--preset", "dim32-gc", *bench.data, "--name", name, "--steps", "60", *settings)
    said = run.wait(7, "not a number")
    return said.partition("error: ")[2][:160]


def interrupted(bench: Bench, name: str) -> str:
    """Ctrl-C ends a run after its step, frees the GPU, and the run can be resumed."""
    saving = ["--save-state", "--set", "save_every_n_steps=4"]
    run = Command(
        bench, name, "lora", "--preset", "dim32-gc", *bench.data, "--name", name, "--steps", "400", *saving, "--json"
    )
    run.until_step(6)
    trainer = run.processes()
    run.child.send_signal(signal.SIGINT)
    run.wait(130, "runs resume")
    gone = require_gone(bench, trainer)
    steps = str(run.last_step() + 3)
    again = Command(bench, name, "runs", "resume", name, "--output", str(bench.folder / "runs"), "--steps", steps)
    again.wait(0)
    return f"stopped at step {run.last_step()}, {gone}, resumed to step {steps}"


def killed(bench: Bench, name: str) -> str:
    """Kill -9 of the command: its trainer ends too."""
    if process.WINDOWS:
        raise SkippedError("Windows has no kill -9")
    run = Command(bench, name, "lora", "--preset", "dim32-gc", *bench.data, "--name", name, "--steps", "400", "--json")
    run.until_step(3)
    trainer = run.processes()
    run.child.kill()
    run.child.wait()
    gone = require_gone(bench, trainer)
    Command(bench, name, "runs", "show", name, "--output", str(bench.folder / "runs")).wait(0, "interrupted")
    return gone


def killed_trainer(bench: Bench, name: str) -> str:
    """Kill -9 of the trainer alone, as the kernel does when RAM runs out: the run fails and says so."""
    if process.WINDOWS:
        raise SkippedError("Windows has no kill -9")
    run = Command(bench, name, "lora", "--preset", "dim32-gc", *bench.data, "--name", name, "--steps", "400", "--json")
    run.until_step(3)
    trainer = run.processes()
    trainer[-1].kill()
    said = run.wait(7)
    gone = require_gone(bench, trainer)
    return f"{gone}; {said.partition('error: ')[2][:120]}"


def out_of_memory(bench: Bench, name: str) -> str:
    """Running out of memory is reported as such, with what would fit."""
    with ballast(bench, STEP_DOWN_GIB):
        run = Command(bench, name, "lora", "--preset", "dim32", "--batch-size", "2", "--repeats", "4", *bench.data,
                      "--name", name, "--steps", "6", "--no-vram-check")  # fmt: skip
        trainer = run.all_processes()
        said = run.wait(7)
        gone = require_gone(bench, trainer)
    return f"{said.partition('error: ')[2][:240]} ({gone})"


def step_down(bench: Bench, name: str) -> str:
    """With --on-oom step-down the run restarts with less and succeeds."""
    with ballast(bench, STEP_DOWN_GIB):
        run = Command(bench, name, "lora", "--preset", "dim32", "--batch-size", "2", "--repeats", "4", *bench.data,
                      "--name", name, "--steps", "6", "--no-vram-check", "--on-oom", "step-down")  # fmt: skip
        said = run.wait(0, "starting again")
    return said.partition("starting again")[2][:120]


def fitted(bench: Bench, name: str) -> str:
    """`fit` beside a ballast finds settings that fit, and --fast to be faster than the run as asked for."""
    with ballast(bench, FIT_GIB):
        run = Command(bench, name, "fit", "--preset", "dim32", *bench.data[:4], "--max-batch", "2", "--minutes", "2",
                      "--set", "gradient_checkpointing=false", "--json")  # fmt: skip
        said = run.wait(0)
    found = json.loads(run.said[run.said.index("{\n") :].partition("\n}")[0] + "\n}")
    speeds = {
        f"batch {one['batch_size']}{' --fast' if one['fast'] else ''}": one["pictures_per_second"]
        for one in found["tried"]
    }
    plain, fast = speeds.get("batch 1"), speeds.get("batch 1 --fast")
    if plain is None or fast is None or fast <= plain or "--fast" not in found["command"]:
        raise CheckFailedError(f"pictures a second: {speeds} {said[-200:]}")
    return f"pictures a second: {speeds}"


CHECKS = (
    Check("training", "a whole run with samples", training, 16),
    Check("interrupted", "Ctrl-C, nothing left on the GPU, resumed", interrupted, 9),
    Check("killed", "kill -9 of the command: no trainer is left", killed, 9),
    Check("killed-trainer", "kill -9 of the trainer: the run fails and says so", killed_trainer, 9),
    Check("not-a-number", "fp16 that overflows is ended", not_a_number, 9),
    Check("fp8", "the base model in 8 bits", eight_bits, 8),
    Check("doctor", "attention, 8 bits, VAE, fp8 and triton, each on the GPU", examined, 2),
    Check("two-at-once", "two runs on one card", two_at_once, 16),
    Check("refusal", "too large a batch ends with 6", refusal, 0),
    Check("oom-step-down", "memory runs out, and the run steps down", step_down, STEP_DOWN_GIB, is_alone=True),
    Check("fit", "fit beside others finds --fast", fitted, FIT_GIB, is_alone=True),
    Check("oom", "memory runs out, and is told", out_of_memory, STEP_DOWN_GIB, is_alone=True),
)


if __name__ == "__main__":
    sys.exit(main())
