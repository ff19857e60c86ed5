"""Judge a release of sd-scripts before it is taken: what holds, what changed, and which files of ours to look at.

    python scripts/judge_upstream.py --source CLONE --ref v0.12.0 --page judged.md             installs it and trains
    python scripts/judge_upstream.py --source CLONE --ref v0.12.0 --page judged.md --tests     the upstream tests too

Run with a Python that has sdxl_train_cli and its dev packages. The release is installed in a home of its own (--home,
else `.judged/REF`), which a second run uses again. Ends with 1 where something does not hold.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from sdxl_train_cli import files
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import SdxlTrainError
from sdxl_train_cli.importers import format_detection
from sdxl_train_cli.importers.foreign_settings import KeyFate
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.sdscripts import known_releases, progress
from sdxl_train_cli.sdscripts.known_releases import Differences
from sdxl_train_cli.sdscripts.progress import CheckpointSaving, Epoch, Length, ModelSaved, Step

ROOT = Path(__file__).resolve().parent.parent
EXPECTED = (Length, Epoch, Step, CheckpointSaving, ModelSaved)
"""Events that the log of every run holds."""
STEPS = 4
SEARCHED = ("sdxl_train_cli", "presets")
SUFFIXES = (".py", ".toml", ".yaml")
LISTS = frozenset({"known_releases.toml"})
"""Files that name everything that a release has."""


@dataclass(frozen=True)
class Judgement:
    """One thing that was looked at."""

    subject: str
    holds: bool
    lines: tuple[str, ...] = ()


def main() -> int:
    """Judge, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, help="a clone or URL of sd-scripts")
    parser.add_argument("--ref", required=True, help="branch, tag or commit")
    parser.add_argument("--home", type=Path, help="where it is installed [default: .judged/REF]")
    parser.add_argument("--page", type=Path, required=True, help="the page to write, in Markdown")
    parser.add_argument("--tests", action="store_true", help="run the tests marked upstream, too")
    typed = parser.parse_args()
    home = Home.find(typed.home or ROOT / ".judged" / re.sub(r"[^\w.-]", "_", typed.ref), {})
    found = list(judge(home, typed.source, typed.ref, tests=typed.tests))
    files.write(typed.page, page(typed.ref, found))
    print(typed.page)
    return 0 if all(one.holds for one in found) else 1


def judge(
    home: Home, source: str, ref: str, kinds: Sequence[Kind] = tuple(Kind), *, tests: bool
) -> Iterator[Judgement]:
    """Everything, the cheapest first. Ends early where it can't be installed."""
    began = time.monotonic()
    code, words = cli("setup", "--source", source, "--ref", ref, "--extra", "lycoris", "--home", str(home.path))
    installed = environment.find(home)
    if code != 0 or installed is None:
        yield Judgement("setup", holds=False, lines=tuple(words.splitlines()[-4:]))
        return
    lock = installed.lock
    versions = (
        f"{name} {lock.packages.get(name, '?')}" for name in ("torch", "transformers", "diffusers", "accelerate")
    )
    made = f"commit {lock.commit}, Python {lock.python}, {', '.join(versions)}, {time.monotonic() - began:.0f} s"
    yield Judgement("setup", holds=True, lines=(made, f"toolchain: {lock.toolchain}"))
    yield from options(installed)
    yield from our_scripts(installed)
    for kind in kinds:
        yield from smoke(home, kind)
    if tests:
        yield upstream_tests(home, source)


def options(installed: Environment) -> Iterator[Judgement]:
    """What differs from the nearest known release, and who of us leans on it."""
    networks = {path.stem for path in (installed.checkout / "networks").glob("*.py")}
    found = known_releases.nearest(installed.options(), networks)
    gone = [*found.fewer, *found.fewer_networks]
    leaning = {name: places(name) for name in (*gone, *found.defaults)}
    used = {name: where for name, where in leaning.items() if where}
    holds = not any(name in used for name in gone)
    yield Judgement(f"options, beside {found.release}", holds, tuple(told(found)) or ("no difference",))
    if used:
        lines = tuple(f"`{name}`: {', '.join(where)}" for name, where in used.items())
        yield Judgement("files of ours that name what is gone or changed", holds, lines)


def told(found: Differences) -> Iterator[str]:
    """Every difference by name."""
    kinds = {
        "options more": found.more,
        "options fewer": found.fewer,
        "other defaults": found.defaults,
        "network modules more": found.more_networks,
        "network modules fewer": found.fewer_networks,
    }
    for what, names in kinds.items():
        if names:
            yield f"{len(names)} {what}: {', '.join(f'`{name}`' for name in names)}"


def places(name: str) -> list[str]:
    """Files of ours with this word."""
    word = re.compile(rf"\b{re.escape(name)}\b")
    found = (
        path
        for folder in SEARCHED
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in SUFFIXES and path.name not in LISTS
    )
    return [path.relative_to(ROOT).as_posix() for path in found if word.search(files.read_text(path))]


def our_scripts(installed: Environment) -> Iterator[Judgement]:
    """Whether what the scripts in inside/ lean on is where they look for it."""
    try:
        can = environment.abilities(installed)
    except SdxlTrainError as error:
        yield Judgement("our scripts in it", holds=False, lines=(str(error),))
        return
    reasons = {
        "a scaled-down model": can.not_scaled,
        "resuming a network": can.not_resumed,
        "resuming Dreambooth": can.full_not_resumed,
    }
    for what, reason in reasons.items():
        yield Judgement(what, reason is None, () if reason is None else (reason,))


def smoke(home: Home, kind: Kind) -> Iterator[Judgement]:
    """A run of this kind: its exit code, what its log says, and what its file records."""
    with tempfile.TemporaryDirectory(prefix="sdxl-train-judged-") as name:
        folder = Path(name) / "made"
        code, words = cli("smoke", "--kind", kind.value, "--steps", str(STEPS), "--keep", "--output", str(folder),
                          "--home", str(home.path))  # fmt: skip
        logs, models = sorted(folder.rglob("train.log")), sorted(folder.glob("smoke-*/*.safetensors"))
        if code != 0 or not logs or not models:
            yield Judgement(f"{kind.label} smoke", holds=False, lines=tuple(words.splitlines()[-4:]))
            return
        said = [line for line in words.splitlines() if line.startswith(f"{kind.label}: ")]
        yield Judgement(f"{kind.label} smoke", holds=bool(said), lines=tuple(said))
        missing = missing_events(files.read_text(logs[0]).splitlines())
        if missing:
            yield Judgement(
                f"{kind.label}: lines of the log", holds=False, lines=(f"never seen: {', '.join(missing)}",)
            )
        strange = unknown_keys(models[-1]) if kind.is_network else []
        if strange:
            lines = (f"not known to importers/lora_metadata.py: {', '.join(strange)}",)
            yield Judgement(f"{kind.label}: keys of the metadata", holds=True, lines=lines)


def missing_events(lines: Iterable[str]) -> list[str]:
    """Events that sdscripts/progress.py finds in no line."""
    seen: set[type] = set()
    for line in lines:
        bar, rest = progress.split(line)
        event = progress.parse(rest)
        seen |= {type(one) for one in (bar, event) if one is not None}
    return [event.__name__ for event in EXPECTED if event not in seen]


def unknown_keys(model: Path) -> list[str]:
    """Keys that the file records and the importer does not know."""
    reading = format_detection.read(model, model.name)
    return [entry.key for entry in reading.entries if entry.what is KeyFate.UNKNOWN]


def upstream_tests(home: Home, source: str) -> Judgement:
    """The tests marked upstream, with this environment."""
    with tempfile.TemporaryDirectory(prefix="sdxl-train-judged-") as folder:
        report = Path(folder) / "report.xml"
        argv = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "upstream",
            "-p",
            "no:xdist",
            f"--junit-xml={report}",
            "tests",
        ]
        variables = {"SDXL_TRAIN_UPSTREAM_HOME": str(home.path), "SDXL_TRAIN_SOURCE": source}
        subprocess.run(argv, check=False, cwd=ROOT, env={**os.environ, **variables}, stdout=sys.stderr)
        suites = ET.parse(report).getroot().iter("testcase")  # noqa: S314 - our own file
        cases = [(f"{one.get('classname')}::{one.get('name')}", [child.tag for child in one]) for one in suites]
    failed = [name for name, tags in cases if {"failure", "error"} & set(tags)]
    skipped = sum("skipped" in tags for _, tags in cases)
    summary = f"{len(cases) - len(failed) - skipped} passed, {skipped} skipped, {len(failed)} failed"
    return Judgement("upstream tests", not failed, (summary, *failed))


def cli(*arguments: str) -> tuple[int, str]:
    """Exit code and everything that a command printed."""
    print("$ sdxl-train", *arguments, file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", "sdxl_train_cli.cli", *arguments], check=False, cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8",
                          env={**os.environ, "PYTHONUTF8": "1"})  # fmt: skip
    return done.returncode, done.stdout


def page(ref: str, found: Sequence[Judgement]) -> str:
    """The page: what does not hold first."""
    broken = [one for one in found if not one.holds]
    verdict = "everything holds" if not broken else f"{len(broken)} of {len(found)} do not hold"
    parts = [f"# sd-scripts {ref}: {verdict}"]
    for title, chosen in (("Does not hold", broken), ("Holds", [one for one in found if one.holds])):
        if chosen:
            parts.append(f"## {title}")
            parts += [f"- **{one.subject}**" + "".join(f"\n  - {line}" for line in one.lines) for one in chosen]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
