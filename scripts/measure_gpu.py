"""Measure what training takes on the GPU that is here: memory, seconds a step, and what each way to be faster brings.

    python scripts/measure_gpu.py --output measured_gpu.jsonl --minutes 10        measure, the most telling cells first
    python scripts/measure_gpu.py --output measured_gpu.jsonl --minutes 0         print the table only
    python scripts/measure_gpu.py --cell lora/dim32:4:plain --cell lora/dim32:4:default+compile      just these

Run with a Python that has sdxl_train_cli, after `sdxl-train setup`. The model has SDXL's true shapes and random weights
(6.9 GB in a temporary folder, or in --work); a cell is the real script with the command's own options, on pictures of
1024x1024. A cell is KIND/PRESET:BATCH:WAY or KIND/PRESET:BATCH:WAY:STEPS. A way is `plain`, unmodified sd-scripts, or
ingredients of inside/fast.py with + between them; `default` stands for its default ones. A preset may be followed by
options of its own: lora/dim32-gc+lowram=true:1:plain, or +sample_every_n_steps=4, which draws two pictures of
1024x1024. Seconds count only where nothing else uses the GPU.

Each line is written as soon as it is known, and what the file knows of this GPU is not measured again: the script may
be stopped at any time and started again.

WITHOUT A GPU it runs the first two cells on a scaled-down model on the processor, which proves the way: its figures say
nothing of a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

from sdxl_train_cli import process
from sdxl_train_cli.dataset.folders import PictureFile
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import INSIDE, Environment
from sdxl_train_cli.errors import SdxlTrainError, UsageError
from sdxl_train_cli.failures import diagnosis
from sdxl_train_cli.failures.signature import Failure
from sdxl_train_cli.gpu import GIB, Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import memory_settings
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.records import runs
from sdxl_train_cli.run import preparation, repeating, smoke, trial
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.smoke import SmokeMaterial, SmokeSize
from sdxl_train_cli.run.telemetry import Sampler

PLAIN = "plain"
OK, OUT_OF_MEMORY, FAILED, TOO_LATE = "ok", "out of memory", "error", "cut off"
PICTURES = 8
STEPS, STEPS_ON_PROCESSOR = 30, 8
LEFT_OUT = 8
"""Initial steps excluded from all values: kernels are loaded, graphs recorded, blocks compiled."""
SIDE = 64
"""Side of the pictures. Square ones of any size are enlarged to 1024x1024."""
MEASURE = Origin("measure")
PROMPTS = "a house --w 1024 --h 1024 --s 3 --d 1\na tree --w 1024 --h 1024 --s 3 --d 2\n"
"""Two samples of few steps: their memory is that of any number."""
CELLS = (
    "lora/dim32:1:plain", "lora/dim32:1:default", "lora/dim32:4:plain", "lora/dim32:4:default",
    "lora/dim32-gc:1:plain", "lora/dim32-gc:1:default", "lora/dim32-gc:4:plain", "lora/dim32-gc:4:default",
    "lora/dim32:4:default+compile:60", "lora/dim32:1:default+compile:60", "lora/dim32-gc:4:default+compile:60",
    "lora/dim32:4:default+channels", "lora/dim32:4:default+cudnn", "lora/dim32-gc:8:default",
    "lora/dim32-fp8-gc:1:plain", "lora/dim32-fp8-gc:1:default", "locon/dim64-conv32-gc:1:plain",
    "locon/dim64-conv32-gc:1:default", "lokr/factor8-gc:1:plain", "lokr/factor8-gc:1:default",
    "lora/dim32:1:sync+reduce", "lora/dim32:1:sync+reduce+inputs+lora+norms", "lora/dim32:1:sync+reduce+graphs",
    "lora/dim128:1:plain", "lora/dim128:1:default",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """What to measure."""

    kind: Kind
    preset: str
    batch: int
    way: str
    steps: int
    settings: tuple[str, ...] = ()
    """Changed options as typed, such as `lowram=true`."""

    @property
    def name(self) -> str:
        """The cell as typed."""
        return f"{self.kind.value}/{'+'.join((self.preset, *self.settings))}:{self.batch}:{self.way}"


@dataclass(frozen=True)
class Line:
    """A line of the file. None if unknown."""

    cell: str
    kind: str
    preset: str
    batch: int
    checkpointing: bool
    way: str
    steps: int
    status: str
    seconds_per_step: float | None = None
    pictures_per_second: float | None = None
    first_steps_seconds: float | None = None
    """Duration of the excluded steps: recording and compiling, once per run."""
    loading_allocated_gib: float | None = None
    """Peak until accelerate prepares the models: loading and caching."""
    loading_reserved_gib: float | None = None
    before_allocated_gib: float | None = None
    before_reserved_gib: float | None = None
    training_allocated_gib: float | None = None
    training_reserved_gib: float | None = None
    process_gib: float | None = None
    losses: tuple[float, ...] = ()
    operations: Mapping[str, int] | None = None
    model: str = ""
    gpu: str = ""
    driver: str = ""
    torch: str = ""
    sd_scripts: str = ""
    date: str = ""
    remark: str = ""
    settings: Mapping[str, Any] | None = None
    """Everything that determines memory (memory/memory_settings.py)."""


@dataclass(frozen=True)
class Place:
    """Environment of the measurements."""

    home: Home
    installed: Environment
    device: Gpu | None
    material: SmokeMaterial
    is_scaled: bool
    folder: Path


def main() -> int:
    """Measure, then print."""
    options = arguments()
    try:
        known = read(options.output)
        if options.minutes > 0:
            known = [*known, *measure(options, known)]
        show(known)
    except SdxlTrainError as error:
        for problem in error.problems:
            print(f"error: {problem}\nhint:  {problem.hint or ''}", file=sys.stderr)
        return error.exit_code
    return 0


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("measured_gpu.jsonl"), help="JSON lines")
    parser.add_argument("--minutes", type=float, default=10.0, help="stop after this many")
    parser.add_argument("--cell", action="append", help="KIND/PRESET:BATCH:WAY[:STEPS]; repeatable")
    parser.add_argument("--count", action="store_true", help="also count the operations of a step, which slows it down")
    parser.add_argument("--gpu", type=int, help="as in nvidia-smi [default: the one with most free memory]")
    parser.add_argument("--home", type=Path, help="the home of sdxl-train")
    parser.add_argument("--work", type=Path, help="keep the model here, 6.9 GB, for next time")
    return parser.parse_args()


def parse(text: str) -> Cell:
    """Parse a typed cell. UsageError if invalid."""
    try:
        recipe, batch, way, *steps = text.split(":")
        kind, named = recipe.split("/", 1)
        preset, *settings = named.split("+")
        cell = Cell(Kind(kind), preset, int(batch), way, int(steps[0]) if steps else STEPS, tuple(settings))
    except ValueError:
        cell = None
    is_odd = cell is None or min(cell.batch, cell.steps) < 1 or not all("=" in one for one in cell.settings)
    if cell is None or is_odd or len(steps) > 1:
        raise UsageError(f"{text!r} is not a cell", "KIND/PRESET:BATCH:WAY[:STEPS], such as lora/dim32:4:default")
    return cell


def measure(options: argparse.Namespace, known: Sequence[Line]) -> Iterator[Line]:
    """Run every unknown cell until time is up. Each line is written at once."""
    deadline = time.monotonic() + 60 * options.minutes
    home = Home.find(options.home, os.environ)
    installed = environment.require(home)
    device = preparation.choose_device(options.gpu)
    wanted = [parse(text) for text in options.cell or CELLS]
    if device is None:
        print(WITHOUT_GPU, file=sys.stderr, flush=True)
        wanted = [replace(cell, steps=STEPS_ON_PROCESSOR) for cell in wanted[:2]]
    done = {(line.cell, line.gpu) for line in known}
    left = [cell for cell in wanted if (cell.name, device.name if device else "") not in done]
    with tempfile.TemporaryDirectory(prefix="sdxl-train-measure-") as name, contextlib.ExitStack() as living:
        folder = Path(name)
        is_scaled = device is None and environment.abilities(installed).not_scaled is None
        size = SmokeSize(STEPS, scaled=is_scaled, gpu_index=device.index if device else None)
        place = Place(home, installed, device, made(installed, options.work or folder, size), is_scaled, folder)
        # The next cell loads its libraries while this one runs, and waits with the GPU.
        coming = [living.enter_context(Running(cell, place, count=options.count)) for cell in left[:1]]
        for number, cell in enumerate(left):
            if time.monotonic() > deadline:
                print(f"time is up: {len(left) - number} cells are left", file=sys.stderr, flush=True)
                return
            running = coming.pop()
            coming += [
                living.enter_context(Running(after, place, count=options.count)) for after in left[number + 1 :][:1]
            ]
            line = running.result(deadline)
            write(options.output, line)
            print(f"{cell.name}: {summary(line)}", file=sys.stderr, flush=True)
            yield line


WITHOUT_GPU = (
    "NO GPU: two cells of a scaled-down model on the processor, to show that it works.\n"
    "These figures say nothing about a GPU; its columns stay empty."
)


def made(installed: Environment, folder: Path, size: SmokeSize) -> SmokeMaterial:
    """The model, reused from an earlier call or created."""
    there = folder / "material"
    if size.scaled or not (there / "model.safetensors").is_file():
        print("making a model of random weights", file=sys.stderr, flush=True)
        return smoke.make_material(installed, there, size)
    return SmokeMaterial(there / "model.safetensors", there / "tokenizers", there / "pictures")


class Running:
    """One cell's process, which waits for its turn."""

    def __init__(self, cell: Cell, place: Place, *, count: bool) -> None:
        self.cell, self.place = cell, place
        self.folder = Path(tempfile.mkdtemp(dir=place.folder, prefix="cell-"))
        self.prepared = prepare(cell, place, self.folder)
        self.report, self.turn = self.folder / "report.json", self.folder / "turn"
        counted = ["--count", str(min(cell.steps, LEFT_OUT))] if count else []
        self.argv = through(self.prepared.argv, [*counted, "--wait", str(self.turn), str(self.report)], cell.way)
        runs.write(self.prepared.run, repeating.record(self.prepared), self.prepared.pictures, self.prepared.prompts)
        self.child = process.Child(self.argv, cwd=self.prepared.environment.checkout, env=self.prepared.variables)

    def __enter__(self) -> Running:  # noqa: PYI034 - typing.Self needs Python 3.11
        self.child.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.child.__exit__(None, None, None)

    def result(self, deadline: float) -> Line:
        """Let it use the GPU, and return its line. A timeout is recorded as such."""
        device = self.place.device
        sampler = Sampler(self.child.pid, device.index if device else None)
        self.turn.touch()
        lines = deque[str](maxlen=400)
        with self.prepared.run.log.open("wb", buffering=0) as log:
            for line in self.child.lines(log):
                sampler.sample()
                lines.append(line or "")
                if time.monotonic() > deadline:
                    break
        sampler.close()
        is_late = time.monotonic() > deadline
        if is_late:
            self.child.kill()
        code = self.child.wait()
        known = diagnosis.explain(list(lines))
        ran_out = known is not None and known.kind is Failure.GPU_MEMORY
        status = OK if code == 0 else TOO_LATE if is_late else OUT_OF_MEMORY if ran_out else FAILED
        own_words = "; ".join(line.partition("fast: ")[2] for line in lines if "fast: " in line)
        remark = (
            own_words if code == 0 else f"{known.cause if known else diagnosis.last_error(list(lines))}; {own_words}"
        )
        facts = json.loads(self.report.read_text(encoding="utf-8")) if self.report.is_file() else {}
        return self.line(facts, status, remark, sampler.peak_gib)

    def line(self, facts: dict[str, Any], status: str, remark: str, process_gib: float | None) -> Line:
        """The line to write."""
        cell, device, lock = self.cell, self.place.device, self.place.installed.lock
        seconds = list(facts.get("seconds") or [])
        counted = seconds[LEFT_OUT - 1 :] if len(seconds) > LEFT_OUT else seconds[1:]
        step = median(counted) if counted else None
        return Line(
            cell=cell.name,
            kind=cell.kind.value,
            preset=cell.preset,
            batch=cell.batch,
            checkpointing=bool(self.prepared.recipe.get("gradient_checkpointing")),
            way=cell.way,
            steps=len(facts.get("losses") or []),
            status=status,
            seconds_per_step=rounded(step, 4),
            pictures_per_second=rounded(cell.batch / step if step else None, 3),
            first_steps_seconds=rounded(sum(seconds[: LEFT_OUT - 1]), 1),
            loading_allocated_gib=gib(facts.get("loading"), "allocated"),
            loading_reserved_gib=gib(facts.get("loading"), "reserved"),
            before_allocated_gib=gib(facts.get("before"), "allocated"),
            before_reserved_gib=gib(facts.get("before"), "reserved"),
            training_allocated_gib=gib(facts.get("training"), "allocated"),
            training_reserved_gib=gib(facts.get("training"), "reserved"),
            process_gib=rounded(process_gib, 3),
            losses=tuple(round(loss, 6) for loss in facts.get("losses") or []),
            operations=facts.get("operations"),
            model="scaled" if self.place.is_scaled else "full size",
            gpu=device.name if device else "",
            driver=device.driver if device else "",
            torch=facts.get("torch") or lock.packages.get("torch", ""),
            sd_scripts=f"{lock.ref} {lock.commit[:10]}",
            date=f"{datetime.now(timezone.utc):%Y-%m-%d}",
            remark=remark,
            settings=memory_settings.read(self.prepared.recipe).model_dump(mode="json"),
        )


def prepare(cell: Cell, place: Place, folder: Path) -> Prepared:
    """Prepare as the real commands do, without starting."""
    asked = choices(cell, place, folder)
    source = min(place.material.pictures.glob("*.png"))
    trial.write_pictures([PictureFile(square(source, folder), SIDE, SIDE, 1)] * PICTURES, folder / "pictures")
    own = [presets.parse_override(setting) for setting in cell.settings]
    recipe = presets.load(cell.kind, cell.preset, [*asked.overrides, *own])
    made = trial.choices(asked, recipe, folder, cell.batch)
    own += [Override("max_train_steps", cell.steps, MEASURE)]
    has_samples = any(override.option.startswith("sample_") for override in own)
    if has_samples:
        (folder / "prompts.txt").write_text(PROMPTS, encoding="utf-8")
        own += [Override("sample_prompts", str(folder / "prompts.txt"), MEASURE)]
    changed = replace(
        made,
        overrides=(*made.overrides, *own),
        repeats=cell.steps * cell.batch,
        samples=None if has_samples else (),  # None keeps the file
    )
    return preparation.prepare(changed, place.home, folder / "presets")


def choices(cell: Cell, place: Place, folder: Path) -> Choices:
    """The unchanged preset. Without a GPU, reduced to the smoke test's size."""
    if place.device is None:
        small = SmokeSize(cell.steps, scaled=place.is_scaled, gpu_index=None)
        eight_bit = place.installed.lock.eight_bit
        asked = smoke.choices(cell.kind, place.material, folder, small, eight_bit=eight_bit)
        return replace(asked, preset=cell.preset)
    return Choices(
        kind=cell.kind,
        preset=cell.preset,
        model=str(place.material.model),
        data=folder / "pictures",
        output=folder / "runs",
        name="cell",
        gpu_index=place.device.index,
        check_vram=False,
        tokenizers=place.material.tokenizers,
        samples=(),
        validation=0.0,
    )


def square(source: Path, folder: Path) -> Path:
    """A square picture, which fills the largest bucket."""
    from PIL import Image  # noqa: PLC0415  only needed once something is measured

    path = folder / "square.png"
    with Image.open(source) as image:
        image.convert("RGB").resize((SIDE, SIDE)).save(path)
    return path


def through(argv: Sequence[str], observed: Sequence[str], way: str) -> list[str]:
    """The argv with our scripts before the trainer's, the observing one outermost."""
    at = next(index for index, word in enumerate(argv) if index > 2 and word.endswith(".py"))  # noqa: PLR2004  -m name
    fast = [] if way == PLAIN else [str(INSIDE / "fast.py"), way.replace("+", ",")]
    return [*argv[:at], str(INSIDE / "observed.py"), *observed, *fast, *argv[at:]]


def gib(peaks: Mapping[str, int] | None, name: str) -> float | None:
    """A peak of PyTorch's in GiB."""
    return None if peaks is None else rounded(peaks[name] / GIB, 3)


def rounded(number: float | None, digits: int) -> float | None:
    """A value as stored in the file."""
    return None if number is None else round(number, digits)


def read(path: Path) -> list[Line]:
    """Read the known lines."""
    if not path.is_file():
        return []
    try:
        return [Line(**json.loads(text)) for text in path.read_text(encoding="utf-8").splitlines() if text.strip()]
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{path} has lines that this script did not write: {error}", "give --output another name"
        ) from error


def write(path: Path, line: Line) -> None:
    """Append a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(line), ensure_ascii=False) + "\n")


def summary(line: Line) -> str:
    """A cell in a few words."""
    if line.status != OK:
        return f"{line.status}: {line.remark}"
    memory = "" if line.training_reserved_gib is None else f", {line.training_reserved_gib:.2f} GiB reserved"
    return f"{line.seconds_per_step} s a step, {line.pictures_per_second} pictures a second{memory}"


def show(lines: Sequence[Line]) -> None:
    """Print each cell beside its plain one. Of several, the fastest."""
    plain = dict[tuple[str, str, int, str], Line]()
    for line in sorted(lines, key=lambda line: -(line.seconds_per_step or math.inf)):
        if line.way == PLAIN:
            plain[line.kind, line.preset, line.batch, line.gpu] = line
    print("| cell | s a step | pictures/s | times plain | reserved GiB | over plain | loss apart | first steps, s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for line in lines:
        base = plain.get((line.kind, line.preset, line.batch, line.gpu))
        print("|", " | ".join([line.cell, *figures(line, base)]), "|")


def figures(line: Line, base: Line | None) -> list[str]:
    """A row's values. Comparisons stay empty if there is no plain cell."""
    if line.status != OK:
        return [line.status, *[""] * 6]
    times = memory = None
    if base is not None and base.seconds_per_step and line.seconds_per_step:
        times = base.seconds_per_step / line.seconds_per_step
    if base is not None and base.training_reserved_gib and line.training_reserved_gib:
        memory = 100 * (line.training_reserved_gib / base.training_reserved_gib - 1)
    return [
        text(line.seconds_per_step, ".3f"),
        text(line.pictures_per_second, ".2f"),
        text(times, ".2f"),
        text(line.training_reserved_gib, ".2f"),
        text(memory, "+.1f") + ("" if memory is None else " %"),
        text(apart(line, base), ".1e"),
        text(line.first_steps_seconds, ".0f"),
    ]


def text(number: float | None, form: str) -> str:
    """A value of the table, or empty."""
    return "" if number is None else format(number, form)


def apart(line: Line, base: Line | None) -> float | None:
    """Largest relative difference between two runs' losses, step by step."""
    if base is None or base is line:
        return None
    pairs = zip(line.losses, base.losses, strict=False)
    return max((abs(one - other) / abs(other) for one, other in pairs if other and math.isfinite(other)), default=None)


if __name__ == "__main__":
    sys.exit(main())
