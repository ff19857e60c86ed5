"""Measure what training takes on the GPU that is here, cell by cell of the table, and hold it against the estimate.

    python scripts/measure_vram.py --output measured_vram.csv      measure what is not in the file yet
    python scripts/measure_vram.py --output FILE --against         and print the estimate's error for each cell of it
    python scripts/measure_vram.py --output FILE --against --batches ""                  print only, measure nothing

Run with a Python that has sdxl_train_cli, after `sdxl-train setup`. The model has SDXL's true shapes and random weights
(6.9 GB in a temporary folder); each cell is three real steps at 1024x1024. Every row is measured twice: as the table
was (text encoders trained, AdamW8bit), and as the preset of that name ships. A cell stands in the file as soon as it is
known, so the script may be stopped and started again. Batches above one that ran out of memory are left away.

Columns: allocated_gib and reserved_gib are PyTorch's own peaks (torch.cuda.max_memory_*), process_gib is what the
driver tells of the trainer's processes, CUDA's context included; estimated_* is what the estimate says of that cell.

WITHOUT A GPU it runs one cell of a scaled-down model on the processor, which proves the way and measures no GPU memory:
the GPU's columns stay empty.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import fmean

from sdxl_train_cli import gpu
from sdxl_train_cli.dataset.folders import PictureFile
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import INSIDE, Environment
from sdxl_train_cli.errors import SdxlTrainError, TrainingError
from sdxl_train_cli.gpu import GIB, Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import estimation, requirement
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.run import preparation, smoke, trial
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.smoke import SmokeMaterial, SmokeSize

AS_TABLE, AS_SHIPPED = "table", "preset"
OK, OUT_OF_MEMORY, FAILED = "ok", "out of memory", "error"
FULL, SCALED, STAND_IN = "full size", "scaled", "none: a stand-in"
TABLE_SETTINGS: dict[str, Value | None] = {
    "network_train_unet_only": None,
    "cache_text_encoder_outputs": None,
    "max_token_length": None,
    "no_half_vae": None,
    "optimizer_type": "AdamW8bit",
    "optimizer_args": None,
}
"""Settings of the table according to docs/vram.md that differ from the presets'."""
SIDE = 64
"""Side of the pictures. Square ones of any size are enlarged to 1024x1024."""


@dataclass(frozen=True)
class Cell:
    """What to measure."""

    variant: str
    row: str
    batch: int
    kind: Kind
    preset: str


@dataclass(frozen=True)
class Measured:
    """A line of the file with values as text. Empty if unknown."""

    variant: str
    row: str
    batch: str
    status: str
    allocated_gib: str = ""
    reserved_gib: str = ""
    process_gib: str = ""
    resident_gib: str = ""
    seconds_per_step: str = ""
    estimated_low_gib: str = ""
    estimated_gib: str = ""
    estimated_high_gib: str = ""
    model: str = ""
    gpu: str = ""
    gpu_total_gib: str = ""
    driver: str = ""
    torch: str = ""
    sd_scripts: str = ""
    date: str = ""
    remark: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """Identifies lines of the same cell."""
        return self.variant, self.row, self.batch, self.model, self.gpu


COLUMNS = tuple(field.name for field in fields(Measured))


@dataclass(frozen=True)
class Place:
    """Environment of the measurements."""

    home: Home
    installed: Environment
    device: Gpu | None
    material: SmokeMaterial
    model: str
    folder: Path


def main() -> int:
    """Measure, then compare."""
    options = arguments()
    try:
        known = read(options.output)
        if options.batches:
            known = measure(options, known)
        if options.against:
            compare(known)
    except SdxlTrainError as error:
        for problem in error.problems:
            print(f"error: {problem}\nhint:  {problem.hint or ''}", file=sys.stderr)
        return error.exit_code
    return 0


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("measured_vram.csv"), help="the CSV")
    parser.add_argument("--against", action="store_true", help="print the estimate's error for each cell")
    parser.add_argument("--rows", default="", help="only rows whose name contains these words, such as 'LoRA 32'")
    parser.add_argument("--batches", type=sizes, default=requirement.BATCH_SIZES, help="such as 1,2,4")
    parser.add_argument("--variant", choices=(AS_TABLE, AS_SHIPPED), help="only as the table, or as the preset ships")
    parser.add_argument("--gpu", type=int, help="as in nvidia-smi [default: the one with most free memory]")
    parser.add_argument("--home", type=Path, help="the home of sdxl-train")
    parser.add_argument("--work", type=Path, help="keep the model here, 6.9 GB, for next time")
    return parser.parse_args()


def sizes(text: str) -> tuple[int, ...]:
    """Parse comma-separated batch sizes."""
    found = tuple(int(part) for part in text.split(",") if part.strip())
    if any(size < 1 for size in found):
        raise argparse.ArgumentTypeError("a batch has at least one picture")
    return found


def measure(options: argparse.Namespace, known: list[Measured]) -> list[Measured]:
    """Run every unknown cell. Each line is written at once."""
    home = Home.find(options.home, os.environ)
    installed = environment.require(home)
    device = chosen(options.gpu)
    with tempfile.TemporaryDirectory(prefix="sdxl-train-measure-") as name:
        folder = Path(name)
        scaled = device is None and environment.abilities(installed).not_scaled is None
        size = SmokeSize(trial.STEPS, scaled=scaled, gpu_index=device.index if device else None)
        wanted = list(cells(options))
        if device is None:
            print(WITHOUT_GPU, file=sys.stderr, flush=True)
            wanted = [cell for cell in wanted if cell.variant == AS_SHIPPED][:1]
        model = STAND_IN if not installed.trains else SCALED if scaled else FULL
        name_of_gpu = device.name if device else ""
        done = {line.key for line in known}
        left = [cell for cell in wanted if (cell.variant, cell.row, str(cell.batch), model, name_of_gpu) not in done]
        print(f"{len(left)} cells to measure, {len(wanted) - len(left)} known", file=sys.stderr, flush=True)
        if not left:
            return known
        material = made(installed, options.work or folder, size)
        place = Place(home, installed, device, material, model, folder)
        for cell in left:
            if ran_out(known, cell, name_of_gpu):
                print(f"{cell.variant}: {cell.row}, batch {cell.batch}: skipped, a smaller one ran out of memory")
                continue
            known = [*known, measured(cell, place)]
            write(options.output, known[-1])
    return known


WITHOUT_GPU = (
    "NO GPU: one cell of a scaled-down model on the processor, to show that it works.\n"
    "This measures no GPU memory; the GPU's columns stay empty."
)


def chosen(index: int | None) -> Gpu | None:
    """The given GPU, else the one with the most free memory, else None."""
    found = [device for device in gpu.devices() if index in {None, device.index}]
    if not found and index is not None:
        sys.exit(f"error: no GPU {index}\nhint:  see `nvidia-smi`")
    return max(found, key=lambda device: device.free_gib, default=None)


def cells(options: argparse.Namespace) -> Iterator[Cell]:
    """Every row by batch size in both variants, those of the measured table first."""
    shipped = [(found.kind, found.name) for found in presets.list_presets() if found.kind]
    for variant in (AS_TABLE, AS_SHIPPED):
        if options.variant not in {None, variant}:
            continue
        for row in requirement.rows():
            kind, name = next((kind, name) for kind, name in shipped if row.is_like(presets.load(kind, name)))
            if options.rows in row.title:
                yield from (Cell(variant, row.title, batch, kind, name) for batch in options.batches)


def made(installed: Environment, folder: Path, size: SmokeSize) -> SmokeMaterial:
    """The model, reused from an earlier call or created."""
    there = folder / "material"
    if size.scaled or not (there / "model.safetensors").is_file():
        print("making a model of random weights", file=sys.stderr, flush=True)
        return smoke.make_material(installed, there, size)
    return SmokeMaterial(there / "model.safetensors", there / "tokenizers", there / "pictures")


def ran_out(known: Sequence[Measured], cell: Cell, name_of_gpu: str) -> bool:
    """Whether a smaller batch of the same settings did not fit."""
    return any(
        line.status == OUT_OF_MEMORY and (line.variant, line.row, line.gpu) == (cell.variant, cell.row, name_of_gpu)
        and int(line.batch) <= cell.batch
        for line in known
    )  # fmt: skip


def measured(cell: Cell, place: Place) -> Measured:
    """Run one cell. A failure unrelated to memory is recorded in words."""
    print(f"{cell.variant}: {cell.row}, batch {cell.batch}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=place.folder, prefix="cell-") as name:
        folder = Path(name)
        prepared = prepare(cell, place, folder)
        line = described(cell, place, prepared)
        report = folder / "peaks.json"
        try:
            found = trial.run(prepared, through(prepared, report))
        except TrainingError as error:
            return replace(line, status=FAILED, remark=" ".join(str(error).split()))
        peaks = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}
    return replace(
        line,
        status=OK if found.fits else OUT_OF_MEMORY,
        allocated_gib=gib(peaks.get("allocated")),
        reserved_gib=gib(peaks.get("reserved")),
        process_gib=figure(found.peak_gib),
        resident_gib=figure(found.resident_gib),
        seconds_per_step=figure(found.seconds_per_step, 4),
        remark=found.why_not or "",
    )


def prepare(cell: Cell, place: Place, folder: Path) -> Prepared:
    """Prepare as the real commands do, without starting."""
    asked = choices(cell, place, folder)
    pictures = folder / "pictures"
    source = min(place.material.pictures.glob("*.png"))
    trial.write_pictures([PictureFile(square(source, folder), SIDE, SIDE, 1)], pictures)
    recipe = presets.load(cell.kind, cell.preset, asked.overrides)
    return preparation.prepare(trial.choices(asked, recipe, folder, cell.batch), place.home, folder / "presets")


def choices(cell: Cell, place: Place, folder: Path) -> Choices:
    """The preset, changed to the table's settings if requested."""
    if place.device is None:
        small = SmokeSize(trial.STEPS, scaled=place.model == SCALED, gpu_index=None)
        eight_bit = place.installed.lock.eight_bit
        asked = smoke.choices(cell.kind, place.material, folder, small, eight_bit=eight_bit)
        return replace(asked, preset=cell.preset)
    changed: dict[str, Value | None] = {"sdpa": True}
    if cell.variant == AS_TABLE:
        changed |= TABLE_SETTINGS
        if cell.kind is Kind.DREAMBOOTH:
            changed["train_text_encoder"] = True
    return Choices(
        kind=cell.kind,
        preset=cell.preset,
        model=str(place.material.model),
        data=folder / "pictures",
        output=folder / "runs",
        name="cell",
        overrides=tuple(Override(option, value, Origin("measure")) for option, value in changed.items()),
        gpu_index=place.device.index,
        check_vram=False,
        tokenizers=place.material.tokenizers,
    )


def square(source: Path, folder: Path) -> Path:
    """A square picture, which fills the largest bucket."""
    from PIL import Image  # noqa: PLC0415  only needed once something is measured

    path = folder / "square.png"
    with Image.open(source) as image:
        image.convert("RGB").resize((SIDE, SIDE)).save(path)
    return path


def through(prepared: Prepared, report: Path) -> list[str]:
    """The argv with inside/measured.py before the script."""
    argv = list(prepared.argv)
    at = next(index for index, word in enumerate(argv) if index > 2 and word.endswith(".py"))  # noqa: PLR2004  -m name
    return [*argv[:at], str(INSIDE / "measured.py"), str(report), *argv[at:]]


def described(cell: Cell, place: Place, prepared: Prepared) -> Measured:
    """A line with everything known before the run."""
    estimate = estimation.estimate(prepared.recipe) if place.device else None
    lock, device = place.installed.lock, place.device
    return Measured(
        variant=cell.variant,
        row=cell.row,
        batch=str(cell.batch),
        status=FAILED,
        estimated_low_gib=figure(estimate.low_gib if estimate else None),
        estimated_gib=figure(estimate.likely_gib if estimate else None),
        estimated_high_gib=figure(estimate.high_gib if estimate else None),
        model=place.model,
        gpu=device.name if device else "",
        gpu_total_gib=figure(device.total_gib if device else None),
        driver=device.driver if device else "",
        torch=lock.packages.get("torch", ""),
        sd_scripts=f"{lock.ref} {lock.commit[:10]}",
        date=f"{datetime.now(timezone.utc):%Y-%m-%d}",
    )


def gib(size: int | None) -> str:
    """Bytes as GiB."""
    return figure(None if size is None else size / GIB)


def figure(number: float | None, digits: int = 3) -> str:
    """A value as stored in the file."""
    return "" if number is None else str(round(number, digits))


def read(path: Path) -> list[Measured]:
    """Read the known lines."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            sys.exit(f"error: {path} has different columns than this script writes\nhint:  give --output another name")
        lines = [Measured(**{name: line[name] or "" for name in COLUMNS}) for line in reader]
    broken = [line for line in lines if not line.batch.isdecimal()]
    if broken:
        sys.exit(f"error: {path} has {len(broken)} lines without a batch size\nhint:  delete them")
    return lines


def write(path: Path, line: Measured) -> None:
    """Append a line. A new file gets a header first."""
    is_new = not path.is_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(COLUMNS)
        writer.writerow(asdict(line).values())


def compare(lines: Sequence[Measured]) -> None:
    """Print each measured cell beside its estimate, and the mean of the errors."""
    told = [line for line in lines if line.status == OK and line.process_gib and line.estimated_gib]
    if not told:
        print("no cell has been measured on a GPU yet: there is nothing to compare the estimate with")
        return
    errors, inside = [], 0
    for line in told:
        process, likely = float(line.process_gib), float(line.estimated_gib)
        errors.append(100 * (likely / process - 1))
        inside += float(line.estimated_low_gib) <= process <= float(line.estimated_high_gib)
        span = f"{line.estimated_low_gib}-{line.estimated_high_gib}"
        print(
            f"{line.variant:6} {line.row:40} {line.batch:>3} {process:8.2f} {likely:8.2f} ({span}) {errors[-1]:+6.1f} %"
        )
    mean = fmean(map(abs, errors))
    print(f"{len(told)} cells: mean absolute error {mean:.1f} %, largest {max(errors, key=abs):+.1f} %, ", end="")
    print(f"{inside} within the estimate's range")


if __name__ == "__main__":
    sys.exit(main())
