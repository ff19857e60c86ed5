"""Take everything to a GPU machine without a network, and measure and check there.

    python scripts/gpu_machine.py pack FOLDER --present LIST          here: fill the folder (about 30 MB beside a torch)
    python3 scripts/gpu_machine.py run FOLDER --minutes 6 --cell lora/dim32:1:plain --check fit      there

`pack` wants an installed sdxl-train and a network. LIST is `pip list --format freeze` of the other machine's Python,
or part of it: what it names does not travel. `--cuda 130` leaves bitsandbytes' library for that CUDA alone.

`run` needs a Python whose torch works, and nothing else. It is started with that Python, installs the folder beside
that torch, then runs scripts/measure_gpu.py with the cells and scripts/gpu_checks.py with the checks, each until its
share of --minutes is over. Under --output (or $OUT) stand, from the first line on, run.txt, cells.jsonl, checks.jsonl
and what the commands said.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INSIDE = ROOT / "sdxl_train_cli" / "inside"
LEAVE_SECONDS = 8.0
"""Kept back at the end, to end what still runs and to gather its logs."""
NOT_CARRIED = ("uv",)
"""Large, and pip does its work there."""


def main() -> int:
    """Pack or run."""
    options = arguments()
    return options.act(options)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    acts = parser.add_subparsers(required=True)
    packing = acts.add_parser("pack", help="fill the folder, where there is a network")
    packing.add_argument("folder", type=Path)
    packing.add_argument("--python", default="3.12", help="of the other machine")
    packing.add_argument("--platform", default="linux")
    packing.add_argument("--present", type=Path, help="what that Python has: `pip list --format freeze`")
    packing.add_argument("--source", help="sd-scripts, as for setup")
    packing.add_argument("--extra", action="append", default=[], help="as for setup")
    packing.add_argument("--cuda", help="such as 130: no other CUDA library of bitsandbytes travels")
    packing.set_defaults(act=pack)
    running = acts.add_parser("run", help="install from the folder, measure and check")
    running.add_argument("folder", type=Path)
    running.add_argument("--minutes", type=float, default=6.0, help="for everything, the setup included")
    running.add_argument("--cell", action="append", default=[], help="for measure_gpu.py; repeatable")
    running.add_argument("--check", action="append", default=[], help="for gpu_checks.py; repeatable")
    running.add_argument("--for-checks", type=float, default=0.5, help="share of the time after the setup")
    running.add_argument("--output", type=Path, default=Path(os.environ.get("OUT", "gpu_results")))
    running.add_argument("--work", type=Path, default=Path("gpu_work"), help="8 GB, for model and environment")
    running.add_argument("--extra", action="append", default=[], help="as for setup")
    running.set_defaults(act=run)
    return parser.parse_args()


def pack(options: argparse.Namespace) -> int:
    """Fill the folder with what `setup --download` fetches, less what is too large for nothing."""
    argv = [sys.executable, "-m", "sdxl_train_cli", "setup", "--download", str(options.folder), "--torch", "existing",
            "--python", options.python, "--platform", options.platform,
            *(["--present", str(options.present)] if options.present else []),
            *(["--source", options.source] if options.source else []),
            *(word for one in options.extra for word in ("--extra", one))]  # fmt: skip
    code = subprocess.run(argv, check=False, cwd=ROOT).returncode
    if code != 0:
        return code
    for name in NOT_CARRIED:
        for wheel in options.folder.glob(f"{name}-*.whl"):
            wheel.unlink()
    if options.cuda:
        for wheel in options.folder.glob("bitsandbytes-*.whl"):
            leave_one_cuda(wheel, options.cuda)
    write_tokenizers(options.folder / "tokenizers")
    size = sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file())
    print(f"{options.folder}: {size / 2**20:.1f} MiB", file=sys.stderr)
    return 0


def leave_one_cuda(wheel: Path, cuda: str) -> None:
    """Write a wheel of bitsandbytes again without its libraries for other GPUs."""
    other = re.compile(r"bitsandbytes/libbitsandbytes_(?!cpu)(?!cuda" + cuda + r"\.)\w+\.(so|dll)$")
    smaller = wheel.with_suffix(".smaller")
    with zipfile.ZipFile(wheel) as before, zipfile.ZipFile(smaller, "w", zipfile.ZIP_DEFLATED) as after:
        for entry in before.infolist():
            if other.match(entry.filename):
                continue
            content = before.read(entry)
            if entry.filename.endswith(".dist-info/RECORD"):
                rows = content.decode().splitlines(keepends=True)
                content = "".join(row for row in rows if not other.match(row.split(",")[0])).encode()
            after.writestr(entry.filename, content)
    smaller.replace(wheel)


def write_tokenizers(folder: Path) -> None:
    """Write tokenizers that spell every word, where the real ones could not be fetched: a measurement needs no more."""
    sys.path.insert(0, str(INSIDE))
    import tiny_sdxl  # noqa: PLC0415  not wanted on the other machine

    for name in tiny_sdxl.TOKENIZERS:
        if not (folder / name / "vocab.json").is_file():
            tiny_sdxl.write_tokenizer(folder / name)


@dataclass(frozen=True)
class Machine:
    """Where and until when to work."""

    kit: Path
    work: Path
    output: Path
    deadline: float

    @property
    def python(self) -> Path:
        """Python of the command."""
        return self.work / "cli" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def home(self) -> Path:
        """Home of the command."""
        return self.work / "home"

    def left(self) -> float:
        """Seconds that are left."""
        return self.deadline - time.monotonic()


def run(options: argparse.Namespace) -> int:
    """Install, measure, check."""
    for folder in (options.output, options.work):
        folder.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * options.minutes - LEAVE_SECONDS
    machine = Machine(options.folder.resolve(), options.work.resolve(), options.output.resolve(), ends)
    began = time.monotonic()
    steps = [make_command(machine), set_up(machine, options.extra)]
    if any(code != 0 for code in steps):
        return 1
    say(machine, f"ready after {time.monotonic() - began:.0f} s, {machine.left():.0f} s are left")
    codes = []
    if options.cell:
        share = options.for_checks if options.check else 0.0
        codes.append(measure(machine, options.cell, machine.left() * (1 - share)))
    if options.check:
        codes.append(check(machine, options.check))
    say(machine, f"done: {codes}")
    return int(any(code != 0 for code in codes))


def say(machine: Machine, words: str) -> None:
    """Say it, and keep it."""
    print(words, flush=True)
    with (machine.output / "run.txt").open("a", encoding="utf-8") as file:
        file.write(f"{words}\n")


def follow(machine: Machine, name: str, argv: Sequence[str], seconds: float) -> int:
    """Run a command until its time is over. What it says is shown and kept."""
    say(machine, f"$ {name}, {seconds:.0f} s at most")
    log = machine.output / f"{name}.txt"
    variables = {key: text for key, text in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    variables |= {"SDXL_TRAIN_HOME": str(machine.home), "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    with log.open("ab") as file:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, env=variables,
            start_new_session=True,
        )  # fmt: skip
    try:
        code = child.wait(max(seconds, 1.0))
    except subprocess.TimeoutExpired:
        code = 124
        for sign in (signal.SIGINT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(LEAVE_SECONDS / 2)
    said = log.read_text(encoding="utf-8", errors="replace").splitlines()
    say(machine, "\n".join([*(line[:220] for line in said[-12:]), f"{name}: exit code {code}"]))
    return code


def make_command(machine: Machine) -> int:
    """A venv for the command: this repository, what it needs out of the folder, and the other Python's packages."""
    if machine.python.exists():
        return 0
    venv.create(machine.work / "cli", with_pip=False)
    other = [sys.executable, "-B", str(INSIDE / "other_python.py")]
    facts = json.loads(subprocess.run(other, check=True, capture_output=True).stdout)
    (packages,) = [*machine.work.glob("cli/lib/python*/site-packages"), *machine.work.glob("cli/Lib/site-packages")]
    (packages / "repository.pth").write_text("\n".join([str(ROOT), *facts["paths"]]) + "\n", encoding="utf-8")
    pip = max(machine.kit.glob("pip-*.whl"), default=None)
    if pip is None:
        say(machine, f"error: {machine.kit} has no wheel of pip\nhint:  fill it with `gpu_machine.py pack`")
        return 1
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    names = re.findall(r'^    "(.+?)",$', project.partition("\ndependencies = [")[2].partition("\n]")[0], re.MULTILINE)
    needed = [name for name in names if re.split(r"[^\w-]", name)[0] not in NOT_CARRIED]
    argv = [str(machine.python), str(pip / "pip"), "install", "--quiet", "--no-index", "--find-links", str(machine.kit),
            "--no-compile", "--disable-pip-version-check", *needed]  # fmt: skip
    return follow(machine, "command", argv, machine.left())


def set_up(machine: Machine, extras: Sequence[str]) -> int:
    """The environment, beside the torch of the Python that runs this."""
    argv = [str(machine.python), "-m", "sdxl_train_cli", "setup", "--torch", "existing", "--python", sys.executable,
            "--wheels", str(machine.kit), "--source", str(machine.kit / "sd-scripts"),
            *(word for one in extras for word in ("--extra", one))]  # fmt: skip
    return follow(machine, "setup", argv, machine.left())


def measure(machine: Machine, cells: Sequence[str], seconds: float) -> int:
    """Run scripts/measure_gpu.py."""
    argv = [str(machine.python), "scripts/measure_gpu.py", "--output", str(machine.output / "cells.jsonl"), "--work",
            str(machine.work), "--minutes", f"{seconds / 60:.2f}"]  # fmt: skip
    return follow(machine, "cells", [*argv, *(word for one in cells for word in ("--cell", one))], seconds)


def check(machine: Machine, names: Sequence[str]) -> int:
    """Run scripts/gpu_checks.py, and gather what its commands said in one file."""
    folder = machine.work / "checks"
    folder.mkdir(exist_ok=True)
    results = folder / "results.jsonl"
    if not results.is_symlink():
        results.symlink_to(machine.output / "checks.jsonl")  # so that each line is there at once
    argv = [str(machine.python), "scripts/gpu_checks.py", "--output", str(folder), "--work", str(machine.work),
            "--minutes", f"{machine.left() / 60:.2f}"]  # fmt: skip
    only = (word for one in names for word in ("--only", one))
    code = follow(machine, "checks", [*argv, *only], machine.left())
    with (machine.output / "checks_said.txt").open("wb") as said:
        for log in sorted([*folder.glob("*.txt"), *folder.glob("*.log")]):
            said.write(f"\n===== {log.name}\n".encode())
            with log.open("rb") as file:
                shutil.copyfileobj(file, said)
    return code


if __name__ == "__main__":
    sys.exit(main())
