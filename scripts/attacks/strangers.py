"""Folders and words of strangers: none of theirs is executed, nothing of a person's is deleted, no secret is kept."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attacks import calls, judge, owners, scene, world
from attacks.tally import Problem, Tally
from attacks.world import World

if TYPE_CHECKING:
    from attacks.plan import AttackOptions

SECRET = "glpat-NEVERSHOWTHIS"  # noqa: S105 - one that opens nothing
Found = Iterator[Problem]


def attack(made: World, tally: Tally, options: AttackOptions, count: int) -> None:
    """Each attack once, in a folder of its own."""
    names = list(ATTACKS)
    for number in range(count):
        seed = options.seed + number
        name = names[(seed - 1) % len(names)]
        with tempfile.TemporaryDirectory(dir=made.folder) as place:
            folder = Path(place)
            mine = judge.digest(*world.write_mine(folder))
            try:
                problems = [*ATTACKS[name](made, folder), *judge.lost(mine, name)]
            except (OSError, ValueError, KeyError, IndexError) as error:
                problems = [Problem(f"the attack itself failed: {name}", repr(error))]
            tally.judge(seed, name, problems, folder)


def _evil(folder: Path, name: str = "evil.py") -> tuple[Path, Path]:
    """A program of a stranger's, and the file that appears when it runs."""
    script, canary = folder / name, folder / "pwned"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(f"#!{sys.executable}\nopen({str(canary)!r}, 'w').close()\n", encoding="utf-8")
    script.chmod(0o755)
    return script, canary


def _executed(canary: Path, what: str) -> Found:
    if canary.exists():
        yield Problem(f"a stranger's program was run: {what}", str(canary))


def _with_record(made: World, folder: Path, what: str, change: Callable[[dict[str, Any], Path], None]) -> Found:
    """Start such a run again and go on with it: only the installed trainer may run."""
    script, canary = _evil(folder)
    run = scene.foreign_run(made, folder, lambda record: change(record, script))
    for argv in (["runs", "rerun", run], ["runs", "resume", run, "--no-vram-check", "--steps", "9"]):
        _, problems = scene.call(made, folder, *argv)
        yield from problems
        yield from _executed(canary, f"{what}, {' '.join(map(str, argv[:2]))}")
        canary.unlink(missing_ok=True)


def _shim(made: World, folder: Path) -> Found:
    yield from _with_record(made, folder, "inputs.shim", lambda record, evil: record["inputs"].update(shim=str(evil)))


def _shim_of_our_name(made: World, folder: Path) -> Found:
    script, canary = _evil(folder, "inside/scaled.py")
    run = scene.foreign_run(made, folder, lambda record: record["inputs"].update(shim=str(script)))
    _, problems = scene.call(made, folder, "runs", "rerun", run)
    yield from problems
    yield from _executed(canary, "a shim of our name")


def _argv_program(made: World, folder: Path) -> Found:
    def change(record: dict[str, Any], evil: Path) -> None:
        record["argv"][0] = str(evil)

    yield from _with_record(made, folder, "argv[0]", change)


def _argv_shim(made: World, folder: Path) -> Found:
    def change(record: dict[str, Any], evil: Path) -> None:
        at = next(n for n, word in enumerate(record["argv"]) if word.endswith(".py"))
        record["argv"].insert(at, str(evil))

    yield from _with_record(made, folder, "argv", change)


def _argv_script(made: World, folder: Path) -> Found:
    script, canary = _evil(folder, "sdxl_train_network.py")

    def change(record: dict[str, Any]) -> None:
        record["argv"] = [str(script) if word.endswith("sdxl_train_network.py") else word for word in record["argv"]]

    run = scene.foreign_run(made, folder, change)
    for verb in ("rerun", "resume"):
        more = ["--no-vram-check", "--steps", "9"] if verb == "resume" else []
        _, problems = scene.call(made, folder, "runs", verb, run, *more)
        yield from problems
        yield from _executed(canary, f"argv's script, runs {verb}")


def _argv_launcher(made: World, folder: Path) -> Found:
    """`python -m MODULE` runs a module; `python -c TEXT` runs a text."""

    def change(record: dict[str, Any], evil: Path) -> None:
        at = record["argv"].index("-m") if "-m" in record["argv"] else 1
        record["argv"][at : at + 2] = ["-c", f"import runpy; runpy.run_path({str(evil)!r})"]

    yield from _with_record(made, folder, "argv's launcher", change)


def _attempts(made: World, folder: Path) -> Found:
    def change(record: dict[str, Any], evil: Path) -> None:
        record["attempts"] = [{"from_step": 2, "argv": [str(evil), *record["argv"][1:]], "changed": {"seed": 3}}]

    yield from _with_record(made, folder, "an attempt's argv", change)


def _environment(made: World, folder: Path) -> Found:
    def change(record: dict[str, Any], evil: Path) -> None:
        record["environment"].update(python=str(evil), commit=str(evil))
        record["environment"].setdefault("request", {}).update(source=str(evil.parent), python=str(evil))

    yield from _with_record(made, folder, "the environment", change)


def _dataset_json(made: World, folder: Path) -> Found:
    """The run's own dataset.json is read again when it goes on."""
    _, canary = _evil(folder)
    run = scene.foreign_run(made, folder, lambda _: None)
    (run / "dataset.json").write_text('{"datasets": [{"subsets": [{"image_dir": "/etc"}]}]}', encoding="utf-8")
    _, problems = scene.call(made, folder, "runs", "resume", run, "--no-vram-check", "--steps", "9")
    yield from problems
    yield from _executed(canary, "dataset.json")


def _modules_beside(made: World, folder: Path) -> Found:
    """Modules of well-known names in the current folder, the pictures' and the run's."""
    canary = folder / "pwned"
    data = folder / "data"
    shutil.copytree(made.pictures, data)
    for place in (folder, data, folder / "output"):
        for name in ("json", "typer", "yaml", "torch", "accelerate", "sitecustomize", "numpy", "uv", "git", "psutil"):
            _evil(place, f"{name}.py")[0].write_text(f"open({str(canary)!r}, 'w').close()\n", encoding="utf-8")
    argv = [*made.training("cat", 3, folder / "output"), "--data", str(data)]
    for words in (argv, ["dataset", "check", "data"], ["setup", "--home", str(folder / "home")]):
        _, problems = scene.call(made, folder, *words)
        yield from problems
        yield from _executed(canary, f"a module in the current folder, {words[0]}")


def _yaml_tags(made: World, folder: Path) -> Found:
    canary = folder / "pwned"
    (folder / "a.yaml").write_text(f'description: !!python/object/apply:os.system ["touch {canary}"]\n', "utf-8")
    for argv in (["presets", "check", "a.yaml"], [*made.training("cat", 3, folder), "--preset", "a.yaml", "--dry-run"]):
        _, problems = scene.call(made, folder, *argv)
        yield from problems
        yield from _executed(canary, "a preset's YAML tag")
    (folder / "a.yaml").replace(folder / "sdxl-train.yaml")
    _, problems = scene.call(made, folder, "lora", "--dry-run")
    yield from problems
    yield from _executed(canary, "a project's YAML tag")


def _shell_words(made: World, folder: Path) -> Found:
    canary = folder / "pwned"
    (folder / "a.sh").write_text(
        f"LR=$(touch {canary})\naccelerate launch sdxl_train_network.py --learning_rate `touch {canary}` --seed $LR\n",
        encoding="utf-8",
    )
    _, problems = scene.call(made, folder, "presets", "import", "a.sh", "--to", "new")
    yield from problems
    yield from _executed(canary, "an imported command line")


def _git_words(made: World, folder: Path) -> Found:
    canary = folder / "pwned"
    home = ["--home", str(folder / "home")]
    for source in (
        f"ext::sh -c touch% {canary}",
        f"--upload-pack=touch {canary}",
        f"-u touch {canary}",
        f"fd::17/{canary}",
    ):
        for more in ([], ["--ref", f"--upload-pack=touch {canary}"], ["--ref", f"--output={canary}"]):
            _, problems = scene.call(made, folder, "setup", f"--source={source}", *more, *home)
            yield from problems
            yield from _executed(canary, f"--source {source.split()[0]}")
    for ref in (f"--output={canary}", f"--exec=touch {canary}", f"-o{canary}", "-x", "--all", "HEAD:evil"):
        _, problems = scene.call(made, folder, "setup", f"--ref={ref}", *home)
        yield from problems
        yield from _executed(canary, f"--ref {ref}")


def _git_hooks(made: World, folder: Path) -> Found:
    """A repository whose own config and hooks name programs."""
    script, canary = _evil(folder)
    source = folder / "source"
    shutil.copytree(made.repository, source)
    for name in ("post-checkout", "post-upload-pack", "pre-receive", "post-index-change", "reference-transaction"):
        hook = source / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        shutil.copy2(script, hook)
    with (source / ".git" / "config").open("a", encoding="utf-8") as config:
        config.write(f"[core]\n\tfsmonitor = {script}\n\thooksPath = {source}/.git/hooks\n\tsshCommand = {script}\n"
                     f'[uploadpack]\n\tpackObjectsHook = {script}\n[filter "x"]\n\tsmudge = {script}\n')  # fmt: skip
    _, problems = scene.call(made, folder, "setup", "--source", source, "--home", folder / "home")
    yield from problems
    yield from _executed(canary, "a repository's config or hooks")


def _uv_config(made: World, folder: Path) -> Found:
    """Config files of tools in the current folder."""
    script, canary = _evil(folder)
    (folder / "uv.toml").write_text(f'python-install-dir = "{folder}"\n', encoding="utf-8")
    (folder / ".python-version").write_text(f"{script}\n", encoding="utf-8")
    (folder / "pyvenv.cfg").write_text(f"home = {folder}\n", encoding="utf-8")
    (folder / "pip.conf").write_text("[global]\nindex-url = http://127.0.0.1:9\n", encoding="utf-8")
    _, problems = scene.call(made, folder, "setup", "--home", folder / "home")
    yield from problems
    yield from _executed(canary, "a tool's config in the current folder")


def _secrets(made: World, folder: Path) -> Found:
    """A password in an address is neither shown nor kept."""
    home = folder / "home"
    address = f"http://user:{SECRET}@127.0.0.1:9/sd-scripts.git"
    ways: tuple[tuple[list[str], dict[str, str]], ...] = (
        (["--source", address], {}),
        ([], {"SDXL_TRAIN_SOURCE": address}),
        (["--source", f"file://user:{SECRET}@{made.repository}"], {}),
        (["--source", f"file://user:{SECRET}@localhost{made.repository}"], {}),
    )
    for words, environ in ways:
        called, problems = scene.call(made, folder, "setup", "--home", home, *words, "--json", **environ)
        yield from problems
        if SECRET in called.told + called.answer:
            yield Problem("a password is shown on the terminal", (called.told + called.answer)[:300])
        for path in home.rglob("*"):
            if path.is_file() and SECRET.encode() in path.read_bytes():
                yield Problem(f"a password is kept in {path.name}", str(path))


def _secrets_of_a_run(made: World, folder: Path) -> Found:
    """Tokens among a run's options."""
    named = [f"{option}={SECRET}" for option in ("wandb_api_key", "huggingface_token")]
    argv = [*made.training("cat", 3, folder / "output"), *(word for one in named for word in ("--set", one))]
    called, problems = scene.call(made, folder, *argv, "--set", "log_with=tensorboard")
    yield from problems
    if SECRET in called.told + called.answer:
        yield Problem("a run's token is shown on the terminal", called.told[:300])
    for path in (folder / "output").rglob("*"):
        if path.is_file() and SECRET.encode() in path.read_bytes():
            yield Problem(f"a run's token is kept in {path.name}", str(path))


def _pipes(made: World, folder: Path) -> Found:
    """A FIFO wherever a file is expected: nothing waits for it."""
    run = scene.foreign_run(made, folder, lambda _: None)
    (run / "sample").mkdir(exist_ok=True)
    os.mkfifo(run / "sample" / "cat_000001_00_20250101000000_1.png")
    data = folder / "data"
    shutil.copytree(made.pictures, data)
    for name in ("3.png", "4.txt", "metadata.jsonl"):
        os.mkfifo(data / name)
    shutil.copy2(data / "0.png", data / "4.png")
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "pipe.safetensors")
    os.mkfifo(folder / "sdxl-train.yaml")
    inside = (
        ["dataset", "check", "data"],
        ["dataset", "show", "data"],
        ["dataset", "fix", "data", "--to", "new"],
        ["presets", "check", "pipe"],
        ["presets", "import", "pipe", "--to", "n"],
        ["runs", "list"],
        ["presets", "import", "pipe.safetensors", "--to", "n"],
        ["vram", "--merge", "pipe"],
        ["runs", "report", str(run)],
        ["lora", "--model", "pipe.safetensors", "--data", "data", "--dry-run"],
        ["dataset", "check", "pipe"],
        ["runs", "resume", str(run), "--no-vram-check", "--steps", "9"],
    )
    for argv in inside:
        called = calls.Started(argv, folder, made.environ(folder), made.logs, scene.command()).end(20)
        if called.code < 0:
            yield Problem(f"waits for a pipe: {' '.join(argv[:2])}", " ".join(argv))
        else:
            yield from judge.problems(called, "with pipes")


ATTACKS: dict[str, Callable[[World, Path], Found]] = {
    "a record's shim": _shim,
    "a record's shim of our name": _shim_of_our_name,
    "a record's program": _argv_program,
    "a record's script before the script": _argv_shim,
    "a record's script": _argv_script,
    "a record's launcher": _argv_launcher,
    "a record's attempts": _attempts,
    "a record's environment": _environment,
    "a run's dataset.json": _dataset_json,
    "modules in the current folder": _modules_beside,
    "YAML tags": _yaml_tags,
    "a shell's words in a command line": _shell_words,
    "git's words as a source": _git_words,
    "a repository's hooks and config": _git_hooks,
    "config files of tools": _uv_config,
    "a person's folder as home": owners.home_of_mine,
    "an empty home": owners.home_empty,
    "a person's folders in our home": owners.home_with_mine,
    "a torn pointer": owners.torn_current,
    "a record whose name is not the file's": owners.keep_result,
    "deleting what only looks like a run": owners.rm_of_mine,
    "a person's folder among states": owners.states_of_mine,
    "a fix into a person's folder": owners.fix_into_mine,
    "a forged journal of a fix": owners.forged_journal,
    "a smoke over a person's folder": owners.smoke_over_mine,
    "a password in an address": _secrets,
    "tokens among options": _secrets_of_a_run,
    "pipes": _pipes,
}
