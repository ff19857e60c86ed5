"""Disks that fill up at every moment: one line says it, and nothing half-written stands under a whole one's name."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from attacks import calls, judge, kills, world
from attacks.tally import Problem, Tally
from attacks.world import World

if TYPE_CHECKING:
    from attacks.calls import Called
    from attacks.plan import AttackOptions

_INSIDE = """
mount -t tmpfs -o "size=$SIZE,nr_inodes=$INODES" none "$DISK" || exit 99
cp -a "$BEFORE/." "$DISK/" 2>/dev/null || exit 98
[ "$FILL" = 0 ] || head -c "$FILL" /dev/zero > "$DISK/.filler"
if [ "$SHRINK" != 0 ]; then
    (sleep "$SHRINK"
     used=$(df -k --output=used "$DISK" | tail -1)
     mount -o "remount,size=$((used + ROOM))k" "$DISK") &
fi
"$@"
code=$?
wait
rm -f "$DISK/.filler"
cp -a "$DISK/." "$AFTER/"
exit $code
"""
"""Mount a small disk in a namespace of its own, or let one shrink; run the command; bring out what it has left."""
_TOO_SMALL = 98
_PAGE = 4
"""KiB: the least that a disk in memory gives to a file."""


@dataclass(frozen=True)
class Full:
    """One command with one of its places on a small disk."""

    name: str
    argv: tuple[str, ...]
    """{disk} is the small disk."""
    judged: Callable[[World, Called, Path], Iterator[Problem]]
    least_kib: int
    step_kib: int
    environ: tuple[tuple[str, str], ...] = ()
    there: Callable[[World, Path], None] | None = None
    """Puts onto the disk what is there before."""
    is_cwd: bool = False
    fill_kib: int = 0
    """Of the disk, taken before."""
    shrinks: bool = False
    """Large at first, as what needs room looks for it; at some moment it has none left."""


def attack(made: World, tally: Tally, options: AttackOptions, count: int) -> None:
    """Each command on disks from too small for the first byte to nearly large enough."""
    if shutil.which("unshare") is None or not _can_mount(made):
        tally.skip("small disks need root, unshare and tmpfs")
        return
    _prepare(made)
    cases, refused = _cases(made), 0
    for number in range(count):
        seed = options.seed + number
        case, size = cases[(seed - 1) % len(cases)], (seed - 1) // len(cases)
        kib = case.least_kib + case.step_kib * size
        inodes = 2 + size * 3 if size % 3 == 2 else 100_000  # noqa: PLR2004 - every third size
        with tempfile.TemporaryDirectory(dir=made.folder) as place:
            called, after = _called(made, case, kib, inodes, Path(place))
            if called.code == _TOO_SMALL:
                continue
            refused += called.code != 0
            problems = [*judge.problems(called, case.name), *_one_line(case, called), *case.judged(made, called, after)]
            tally.judge(seed, f"{case.name} on {kib} KiB, {inodes} inodes: {' '.join(called.argv)}", problems, after)
    tally.note(f"{refused} did not fit")


def _can_mount(made: World) -> bool:
    place = made.folder / "mounted"
    place.mkdir(exist_ok=True)
    words = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


def _called(made: World, case: Full, kib: int, inodes: int, folder: Path) -> tuple[Called, Path]:
    disk, before, after = folder / "disk", folder / "before", folder / "after"
    for each in (disk, before, after):
        each.mkdir()
    if case.there:
        case.there(made, before)
    argv = [word.replace("{disk}", str(disk)) for word in case.argv]
    environ = made.environ(**{name: text.replace("{disk}", str(disk)) for name, text in case.environ})
    facts = {
        "SIZE": "4g" if case.shrinks else f"{kib}k",
        "INODES": inodes,
        "FILL": case.fill_kib * 1024,
        "DISK": disk,
        "SHRINK": kib / 50 if case.shrinks else 0,
        "ROOM": kib % 5 * _PAGE,
        "BEFORE": before,
        "AFTER": after,
    }
    inner = ["sh", "-c", 'cd "$0" && exec "$@"', str(disk if case.is_cwd else folder), *calls.COMMAND]
    environ |= {name: str(fact) for name, fact in facts.items()}
    return calls.run(argv, folder, environ, made.logs, ["unshare", "-m", "sh", "-c", _INSIDE, "sh", *inner]), after


def _one_line(case: Full, called: Called) -> Iterator[Problem]:
    lines = [line for line in called.told.splitlines() if line.startswith("error: ")]
    if called.code != 0 and len(lines) != 1:
        yield Problem(f"{len(lines)} error lines: {case.name}", called.told[-300:])


def _prepare(made: World) -> None:
    folder = made.folder / "fix-me"
    folder.mkdir(exist_ok=True)
    for number in range(6):
        Image.effect_noise((96, 80), 80 + number).convert("RGB").save(folder / f"{number}.bmp")
        (folder / f"{number}.txt").write_text(f"cat {number}\n", encoding="utf-8")


def _cases(made: World) -> list[Full]:
    imported = str(world.TESTS / "foreign" / "gui_lora.json")
    train = made.training("cat", 40)
    train[train.index("--output") + 1] = "{disk}"
    home, model, pictures = (("SDXL_TRAIN_HOME", "{disk}"),), str(made.model), str(made.pictures)
    new = (
        "presets",
        "new",
        "a",
        "--what",
        "style",
        "--gpu",
        "9",
        "--pictures",
        "9",
        "--for",
        "speed",
        "--to",
        "{disk}",
    )
    fix = ("dataset", "fix", str(made.folder / "fix-me"), "--to", "{disk}/new")
    show, report = ("dataset", "show", pictures), ("runs", "report", str(made.run), "--to", "{disk}/page.html")
    cache, slowly = (("XDG_CACHE_HOME", "{disk}"),), (("STANDIN_STEP_SECONDS", "0.03"),)
    page, own = ("--html", "{disk}/page.html"), ("--model", model, "--data", pictures)
    importing = ("presets", "import", imported, "--to", "{disk}")
    return [
        Full("setup into an empty home", ("setup",), _nothing_half_set_up, 4, 150, home),
        Full("a run's output", (*train, "--save-state"), _no_half_run, 33, 9, slowly, shrinks=True),
        Full("dataset fix", fix, _no_half_fix, 4, 24),
        Full("presets import", importing, _no_half_preset, 4, 4, fill_kib=_PAGE),
        Full("the cache", ("dataset", "check", pictures), _checks_all_the_same, 4, 16, cache),
        Full("setup over another", ("setup", "--recreate"), _former_counts, 700, 150, home, _a_home),
        Full("a report", report, _no_half_page, 4, 16),
        Full("init", ("init", *own), _no_half_project, 4, 4, is_cwd=True, fill_kib=_PAGE),
        Full("presets new", new, _no_half_preset, 4, 4, fill_kib=_PAGE),
        Full("dataset show", (*show, *page), _no_half_page, 4, 8),
    ]


def _a_home(made: World, folder: Path) -> None:
    shutil.copytree(made.home, folder, symlinks=True, dirs_exist_ok=True)


def _nothing_half_set_up(made: World, called: Called, after: Path) -> Iterator[Problem]:
    del made
    folders = list((after / "environments").glob("*")) if (after / "environments").exists() else []
    if called.code == 0:
        if len(folders) != 1:
            yield Problem("setup says ready, and there is not one environment", str(folders))
        return
    if folders or (after / "current").exists():
        yield Problem("a failed setup leaves something half-made", f"{[path.name for path in after.rglob('*')][:20]}")


def _former_counts(made: World, called: Called, after: Path) -> Iterator[Problem]:
    del called
    used = made.call(*made.training("cat", 6), "--dry-run", SDXL_TRAIN_HOME=str(after))
    if used.code != 0:
        yield Problem("a failed setup over another leaves none", used.told[-300:])


def _no_half_run(made: World, called: Called, after: Path) -> Iterator[Problem]:
    del made
    run = after / "cat"
    torn = [path.name for path in run.glob("*.safetensors") if not kills.is_whole(path)]
    if torn:
        yield Problem("a torn checkpoint stands under a whole one's name", str(torn))
    if run.exists() and not (run / "run.json").exists() and any(run.iterdir()):
        yield Problem("a run's folder without a record", str([path.name for path in run.iterdir()]))
    yield from _whole_json(run)
    if called.code == 0 and not (run / "cat.safetensors").exists():
        yield Problem("a run is done, and its file is not there", called.answer)


def _whole_json(folder: Path) -> Iterator[Problem]:
    for path in folder.glob("*.json"):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            yield Problem(f"a torn {path.name}", str(error))


def _no_half_fix(made: World, called: Called, after: Path) -> Iterator[Problem]:
    del made
    for path in after.rglob("*"):
        if path.name.endswith(".new"):
            yield Problem("dataset fix leaves a half-written file", path.name)
        if path.suffix in {".png", ".jpg", ".bmp", ".webp"}:
            try:
                with Image.open(path) as image:
                    image.load()
            except OSError as error:
                yield Problem("dataset fix leaves a torn picture", f"{path.name}: {error}")
    if called.code == 0 and len(list(after.glob("new/*.txt"))) != 6:  # noqa: PLR2004 - as many as there are
        yield Problem("dataset fix says done, and captions are missing", str(list(after.rglob("*"))))


def _no_half_preset(made: World, called: Called, after: Path) -> Iterator[Problem]:
    for path in after.rglob("*"):
        if path.is_dir():
            continue
        checked = made.call("presets", "check", path)
        if called.code != 0 or path.suffix != ".yaml" or checked.code != 0:
            yield Problem(f"a preset is left half-written: exit code {called.code}", f"{path.name}: {checked.told}")
    if called.code == 0 and not any(path.is_file() for path in after.rglob("*.yaml")):
        yield Problem("a preset is said to be written, and is not there", called.answer)


def _checks_all_the_same(made: World, called: Called, after: Path) -> Iterator[Problem]:
    del after
    usual = made.call(*called.argv)
    if (usual.code, usual.stdout) != (called.code, called.stdout):
        yield Problem("a full cache changes what a check says", called.told[-300:])


def _no_half_page(made: World, called: Called, after: Path) -> Iterator[Problem]:
    del made
    left = [path for path in after.rglob("*") if path.is_file()]
    whole = [path for path in left if path.name == "page.html" and path.read_text("utf-8").rstrip().endswith("</html>")]
    if left != whole or (called.code == 0) != bool(whole):
        told = f"exit code {called.code}, {[path.name for path in left]}"
        yield Problem("a page is left half-written", told)


def _no_half_project(made: World, called: Called, after: Path) -> Iterator[Problem]:
    del made
    left = [path.name for path in after.rglob("*") if path.is_file()]
    wanted = ["sdxl-train.yaml"] if called.code == 0 else []
    if left != wanted:
        yield Problem("init leaves a half-written project", f"exit code {called.code}, {left}")
