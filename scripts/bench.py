"""Measure what the wrapper costs and saves, as ratios of medians in one run: `python scripts/bench.py`.

    help      `sdxl-train --help`               against `accelerate launch --help`     goal: at most 1/40
    dry-run   `sdxl-train lora --dry-run`       against `accelerate launch --help`     goal: at most 1/8
    list      `sdxl-train runs list` of 1,000   against `accelerate launch --help`     goal: at most 1/8
    ledger    `sdxl-train runs list` of 10,000, against 1 s                        goal: at most 1
              not for the first time
    queue     `sdxl-train queue list` of 10,000 against 1 s                        goal: at most 1
    tasks     `sdxl-train cluster list` of      against 1 s                        goal: at most 1
              10,000 that have ended but for ten, without a Slurm, not for the first time
    sweep     `sdxl-train sweep show` of 2,000  against 1 s                        goal: at most 1
              points, not for the first time
    page      the page of the same              against 2 s                        goal: at most 1
    run       a training under `sdxl-train`     against the same argv started by hand  goal: at most 1.02
              (from the trainer's start to its end; what comes before is what `dry-run` measures)
    check     `sdxl-train dataset check`        against decoding them with Pillow      goal: at most 1.3
              (1,000 pictures of 1024x1024, the first time, on the same cores)
    again     the same a second time, inside    against the first time                 goal: at most 0.05
              (what the program's start takes is left out: `help` measures it)
    many      50,000 tiny pictures, first time  against decoding them with Pillow      goal: at most 4
    many-too  the same a second time, inside    against the first time                 goal: at most 0.2
    beside    1,000 new ones beside 50,000      against 1,000 with an empty cache      goal: at most 2
    memory    the most that `check` took        against 300 MB                         goal: at most 1
    best      `sdxl-train best` of 20 LoRAs     against 20 s                           goal: at most 1
              (dimension 32, 170 MB each, from the files alone)
    best-mem  the most that its look took       against 1,000 MB                       goal: at most 1
    setup     setup from an empty home          against `python -m venv` and pip       goal: at most 1/3
    train     a step with --fast at batch 1     against a plain step of the same run   goal: at most 0.5
              (on the GPU with --model and --data; without one a scaled-down model on the processor, goal: at most 1.1)

All that look at no pictures need an environment (`sdxl-train setup`); `setup` also needs its source, and downloads
several GB once. The two sides of a ratio take turns, so that a slow minute of the machine hits both. Standard library
only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import project_venv

SAME_REQUIREMENTS = """
import os
from sdxl_train_cli.environment import environment, toolchain
from sdxl_train_cli.layout import Home
declared = (environment.require(Home.find(None, os.environ)).checkout / "requirements.txt").read_text(encoding="utf-8")
row = toolchain.choose(declared, brings_accelerate=False)
print("\\n".join(toolchain.plan(row, declared, toolchain.TorchBuild.DEFAULT, (), ()).requirements))
"""
GOALS = {"help": 1 / 40, "dry-run": 1 / 8, "list": 1 / 8, "run": 1.02, "check": 1.3, "again": 0.05, "memory": 1.0}
GOALS["setup"] = 1 / 3
GOALS |= {"ledger": 1.0, "queue": 1.0, "tasks": 1.0, "sweep": 1.0, "page": 1.0}
GOALS |= {"best": 1.0, "best-mem": 1.0}
GOALS |= {"many": 4.0, "many-too": 0.2, "beside": 2.0, "train": 0.5}
ON_PROCESSOR = 1.1
"""Goal of `train` without a GPU: there is no waiting to take away, so it must only cost nothing."""
UNITS = {"memory": "MB", "best-mem": "MB"}
"""Where it is not seconds."""
PICTURES, MOST_MEGABYTES = 1000, 300
MANY, NEW = 50_000, 1_000
TEN_THOUSAND, POINTS, LIST_SECONDS, PAGE_SECONDS = 10_000, 2_000, 1.0, 2.0
NETWORKS, BEST_SECONDS, BEST_MEGABYTES = 20, 20.0, 1000


def main() -> int:
    """Print one line for each ratio; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", choices=[*GOALS, []], help="which ratios; all by default")
    parser.add_argument("--times", type=int, default=5, help="measurements of each side")
    parser.add_argument("--steps", type=int, default=60, help="length of the trainings that `run` compares")
    parser.add_argument("--model", help="SDXL checkpoint for `train` on a GPU")
    parser.add_argument("--data", help="pictures for `train` on a GPU")
    options = parser.parse_args()
    bench = Bench(project_venv.make(".venv"), options.times, options.steps)
    inputs = [word for name in ("model", "data") if (text := getattr(options, name)) for word in (f"--{name}", text)]
    measures: dict[str, Callable[[], tuple[float, float]]] = {
        "help": bench.help,
        "dry-run": bench.dry_run,
        "list": bench.list_runs,
        "ledger": bench.ledger,
        "queue": bench.queue,
        "tasks": bench.tasks,
        "sweep": bench.sweep,
        "page": bench.sweep_page,
        "run": bench.run,
        "check": bench.check,
        "again": bench.check_again,
        "memory": bench.check_memory,
        "many": bench.many,
        "many-too": bench.many_again,
        "beside": bench.new_beside_many,
        "best": bench.best,
        "best-mem": bench.best_memory,
        "setup": bench.setup,
        "train": lambda: bench.train(inputs),
    }
    missed = 0
    for name in options.only or GOALS:
        ours, theirs = measures[name]()
        ratio = ours / theirs
        goal = ON_PROCESSOR if name == "train" and not inputs else GOALS[name]
        verdict = "ok" if ratio <= goal else "MISSED"
        missed += verdict == "MISSED"
        unit = UNITS.get(name, "s")
        sides = f"{ours:8.3f} {unit} / {theirs:8.3f} {unit}"
        print(f"{name:8} {sides} = {ratio:.3f}   goal {goal:.3f}  {verdict}", flush=True)
    bench.clean()
    return 1 if missed else 0


class Bench:
    """The two sides of each ratio."""

    def __init__(self, python: Path, times: int, steps: int) -> None:
        self.cli = [str(python.with_name("sdxl-train.exe" if os.name == "nt" else "sdxl-train"))]
        self.python, self.times, self.steps = python, times, steps
        self.folder = Path(tempfile.mkdtemp(prefix="sdxl-train-bench-"))
        self._smoked: Path | None = None
        self._many: tuple[list[float], list[float], list[float]] | None = None
        self._checked: tuple[list[float], list[float], list[float], list[float]] | None = None

    def clean(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def help(self) -> tuple[float, float]:
        """Start-up of the two command lines."""
        return self._medians([*self.cli, "--help"], self._accelerate_help())

    def dry_run(self) -> tuple[float, float]:
        """All checks and the whole command line, against accelerate's mere help."""
        smoke = self._smoke()
        typed = ["lora", "--dry-run", "--no-vram-check", "--model", str(smoke / "material" / "model.safetensors")]
        typed += ["--data", str(smoke / "material" / "pictures"), "--output", str(self.folder / "never")]
        return self._medians([*self.cli, *typed], self._accelerate_help())

    def list_runs(self) -> tuple[float, float]:
        """A thousand records such as the smoke's own."""
        for number in range(1000):
            folder = self.folder / "thousand" / f"run-{number}"
            folder.mkdir(parents=True)
            for name in ("run.json", "outcome.json"):
                shutil.copy(self._smoke() / "smoke-lora" / name, folder)
        listing = [*self.cli, "runs", "list", "--output", str(self.folder / "thousand")]
        return self._medians(listing, self._accelerate_help())

    def ledger(self) -> tuple[float, float]:
        """Ten thousand records such as the smoke's own, each with what differs between runs."""
        output = self._many_runs("ledger", TEN_THOUSAND)
        return self._median_list(["runs", "list", "--output", str(output)]), LIST_SECONDS

    def tasks(self) -> tuple[float, float]:
        """Submissions of 200 tasks each."""
        home = self.folder / "tasks-home"
        self._many_runs("tasks", TEN_THOUSAND, "--tasks", str(home))
        return self._median_list(["cluster", "list", "--home", str(home)]), LIST_SECONDS

    def sweep(self) -> tuple[float, float]:
        """A sweep whose points have ended."""
        return self._median_list(self._show_sweep()), LIST_SECONDS

    def sweep_page(self) -> tuple[float, float]:
        """The table, and the page besides."""
        return self._median_list([*self._show_sweep(), "--to", str(self.folder / "sweep.html")]), PAGE_SECONDS

    def _show_sweep(self) -> list[str]:
        home = self.folder / "sweep-home"
        if not home.exists():
            self._many_runs("sweep", POINTS, "--sweep", str(home))
        return ["sweep", "show", "many", "--home", str(home)]

    def _many_runs(self, name: str, count: int, *more: str) -> Path:
        output, script = self.folder / name, str(Path(__file__).with_name("many_runs.py"))
        like = str(self._smoke() / "smoke-lora")
        self._told([str(self.python), script, like, str(output), "--count", str(count), *more])
        return output

    def queue(self) -> tuple[float, float]:
        """A queue in which all jobs wait."""
        home, script = self.folder / "queue-home", str(Path(__file__).with_name("simulate_queue.py"))
        argv = [str(self.python), script, "--only-add", "--home", str(home), "--jobs", str(TEN_THOUSAND)]
        self._told(argv)
        return self._median_list(["queue", "list", "--home", str(home)]), LIST_SECONDS

    def _median_list(self, words: list[str]) -> float:
        self._seconds([*self.cli, *words])  # once for the caches
        return statistics.median(self._seconds([*self.cli, *words]) for _ in range(self.times))

    def run(self) -> tuple[float, float]:
        """The same training watched by us, and started by hand."""
        ours = [*self.cli, "smoke", "--keep", "--steps", str(self.steps), "--output"]
        spent: tuple[list[float], list[float]] = ([], [])
        for number in range(self.times):
            output = self.folder / f"run-{number}"
            self._told([*ours, str(output)])
            record = json.loads((output / "smoke-lora" / "run.json").read_text(encoding="utf-8"))
            outcome = json.loads((output / "smoke-lora" / "outcome.json").read_text(encoding="utf-8"))
            spent[0].append(outcome["seconds"])
            shutil.rmtree(output / "smoke-lora" / "logs")
            script = next(word for word in record["argv"] if re.search(r"sdxl_train(_network)?\.py$", word))
            variables = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
            variables |= {
                "HF_HUB_OFFLINE": "1",
                "CUDA_VISIBLE_DEVICES": "-1",
                "PYTHONUTF8": "1",
                "PYTHONUNBUFFERED": "1",
            }
            with (self.folder / "by-hand.log").open("wb") as log:
                start = time.monotonic()
                streams = {"stdout": log, "stderr": log}
                subprocess.run(record["argv"], check=True, cwd=Path(script).parent, env=variables, **streams)
                spent[1].append(time.monotonic() - start)
            shutil.rmtree(output)
        return statistics.median(spent[0]), statistics.median(spent[1])

    def train(self, inputs: list[str]) -> tuple[float, float]:
        """Seconds a step of the same run with --fast and without, as `fit` measures them."""
        argv = [*self.cli, "fit", "--json", "--max-batch", "1", "--set", "gradient_checkpointing=false", *inputs]
        spent: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(self.times):
            for tried in json.loads(self._told(argv))["tried"]:
                spent[tried["fast"]].append(tried["seconds_per_step"])
        return statistics.median(spent[True]), statistics.median(spent[False])

    def setup(self) -> tuple[float, float]:
        """The environment from nothing, both with warm package caches."""
        lock = json.loads(self._told([*self.cli, "setup", "--json"]))
        ours = [*self.cli, "setup", "--source", lock["request"]["source"], "--home", str(self.folder / "home")]
        requirements = self.folder / "requirements.txt"
        requirements.write_text(self._told([str(self.python), "-c", SAME_REQUIREMENTS]), encoding="utf-8")
        pip_folder = self.folder / "pip"
        python = pip_folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        base = self._told([str(self._training_python()), "-c", "import sys; print(sys._base_executable)"]).strip()
        pip = [str(python), "-m", "pip", "install", "-q", "-r", str(requirements)]
        theirs = ([base, "-m", "venv", str(pip_folder)], pip)
        spent: tuple[list[float], list[float]] = ([], [])
        for _ in range(max(1, self.times // 2)):
            shutil.rmtree(self.folder / "home", ignore_errors=True)
            shutil.rmtree(pip_folder, ignore_errors=True)
            spent[0].append(self._seconds(ours))
            spent[1].append(sum(self._seconds(argv) for argv in theirs))
        return statistics.median(spent[0]), statistics.median(spent[1])

    def check(self) -> tuple[float, float]:
        """All of `sdxl-train dataset check`, its start too, against no more than decoding."""
        first, _, decoding, _ = self._checks()
        return statistics.median(first), statistics.median(decoding)

    def check_again(self) -> tuple[float, float]:
        """What was looked at is remembered."""
        first, again, _, _ = self._checks()
        return statistics.median(again), statistics.median(first)

    def check_memory(self) -> tuple[float, float]:
        """The process's peak; it has threads and no other processes."""
        return max(self._checks()[3]), MOST_MEGABYTES

    def many(self) -> tuple[float, float]:
        """A look at many pictures, each of which takes next to nothing."""
        first, _, decoding = self._looks_at_many()
        return statistics.median(first), statistics.median(decoding)

    def many_again(self) -> tuple[float, float]:
        """Of a second look, only what it takes to see that nothing has changed, and the findings."""
        first, again, _ = self._looks_at_many()
        return statistics.median(again), statistics.median(first)

    def new_beside_many(self) -> tuple[float, float]:
        """What is kept of many pictures must not slow down the look at a few others."""
        self._looks_at_many()
        spent: tuple[list[float], list[float]] = ([], [])
        for number in range(self.times):
            new = str(self.folder / f"new-{number}")
            self._told([*self._pictures_script(), "tiny", new, str(NEW), str(MANY + number * NEW)])
            for seconds, cache in zip(spent, ("many-cache", f"empty-cache-{number}"), strict=True):
                variables = {"SDXL_TRAIN_CACHE": str(self.folder / cache)}
                seconds.append(float(self._told([*self._pictures_script(), "check", new], variables)))
        return statistics.median(spent[0]), statistics.median(spent[1])

    def best(self) -> tuple[float, float]:
        """The whole command; the files are in the system's cache, as those of a run that has just ended are."""
        networks = self._networks()
        return statistics.median(self._seconds([*self.cli, "best", networks]) for _ in range(3)), BEST_SECONDS

    def best_memory(self) -> tuple[float, float]:
        """The look at the weights, which is a process of its own."""
        files = sorted(str(path) for path in Path(self._networks()).glob("*.safetensors"))
        script = self._package() / "inside" / "weight_course.py"
        names = self._package() / "sdscripts" / "network_tensors.json"
        argv = [str(self._training_python()), str(script), *files, "--names", str(names)]
        return self._watched(argv, {})[1], BEST_MEGABYTES

    def _networks(self) -> str:
        folder = self.folder / "networks"
        if not folder.is_dir():
            script = str(Path(__file__).with_name("bench_networks.py"))
            self._told([str(self.python), script, str(folder), str(NETWORKS)])
        return str(folder)

    def _package(self) -> Path:
        return Path(__file__).resolve().parents[1] / "sdxl_train_cli"

    def _looks_at_many(self) -> tuple[list[float], list[float], list[float]]:
        """Seconds of the first time, the second and of decoding."""
        if self._many is not None:
            return self._many
        pictures, cache = str(self.folder / "many"), self.folder / "many-cache"
        self._told([*self._pictures_script(), "tiny", pictures, str(MANY), "0"])
        first, again, decoding = list[float](), list[float](), list[float]()
        for _ in range(max(1, self.times // 2)):
            shutil.rmtree(cache, ignore_errors=True)
            for seconds in (first, again):
                variables = {"SDXL_TRAIN_CACHE": str(cache)}
                seconds.append(float(self._told([*self._pictures_script(), "check", pictures], variables)))
            decoding.append(float(self._told([*self._pictures_script(), "decode", pictures])))
        self._many = first, again, decoding
        return self._many

    def _pictures_script(self) -> list[str]:
        return [str(self.python), str(Path(__file__).with_name("bench_pictures.py"))]

    def _checks(self) -> tuple[list[float], list[float], list[float], list[float]]:
        """Seconds of the first time, the second and of decoding; megabytes."""
        if self._checked is not None:
            return self._checked
        script = self._pictures_script()
        pictures = str(self.folder / "pictures")
        self._told([*script, "make", pictures, str(PICTURES)])
        first, again, decoding, megabytes = list[float](), list[float](), list[float](), list[float]()
        for number in range(self.times + 1):
            cache = {"SDXL_TRAIN_CACHE": str(self.folder / f"cache-{number}")}
            seconds, peak = self._watched([*self.cli, "dataset", "check", pictures, "--trigger", "ohwx"], cache)
            first.append(seconds)
            megabytes.append(peak)
            again.append(float(self._told([*script, "check", pictures], cache)))
            decoding.append(float(self._told([*script, "decode", pictures])))
        self._checked = first[1:], again[1:], decoding[1:], megabytes  # the first of all read the disk
        return self._checked

    def _watched(self, argv: list[str], variables: dict[str, str]) -> tuple[float, float]:
        """Seconds, and the most memory that was resident at once, in MB (10^6 bytes)."""
        start = time.monotonic()
        child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, env={**os.environ, **variables})
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            sys.exit(f"error: {' '.join(argv[:4])} ... ended with {child.returncode}")
        return seconds, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6

    def _smoke(self) -> Path:
        if self._smoked is None:
            self._smoked = self.folder / "smoke"
            self._told([*self.cli, "smoke", "--keep", "--steps", "2", "--output", str(self._smoked)])
        return self._smoked

    def _training_python(self) -> Path:
        return Path(json.loads((self._smoke() / "smoke-lora" / "run.json").read_text(encoding="utf-8"))["argv"][0])

    def _accelerate_help(self) -> list[str]:
        name = "accelerate.exe" if os.name == "nt" else "accelerate"
        return [str(self._training_python().with_name(name)), "launch", "--help"]

    def _medians(self, ours: list[str], theirs: list[str]) -> tuple[float, float]:
        spent: tuple[list[float], list[float]] = ([], [])
        for argv in (ours, theirs):
            self._seconds(argv)  # once for the caches
        for _ in range(self.times):
            spent[0].append(self._seconds(ours))
            spent[1].append(self._seconds(theirs))
        return statistics.median(spent[0]), statistics.median(spent[1])

    def _seconds(self, argv: list[str]) -> float:
        start = time.monotonic()
        self._told(argv)
        return time.monotonic() - start

    def _told(self, argv: list[str], variables: dict[str, str] | None = None) -> str:
        environment = {**os.environ, **(variables or {})}
        done = subprocess.run(argv, check=False, capture_output=True, encoding="utf-8", env=environment)
        if done.returncode != 0:
            sys.exit(f"error: {' '.join(argv[:4])} ... ended with {done.returncode}\n{done.stderr[-2000:]}")
        return done.stdout


if __name__ == "__main__":
    sys.exit(main())
