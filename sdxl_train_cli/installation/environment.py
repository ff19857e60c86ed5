"""The isolated environment: sd-scripts and a venv with all that it needs, whole or absent.

Each environment is built in a folder of its own, proven, and only then named in the one small file that says which
folder counts. The one before stays usable until that moment.
"""

from __future__ import annotations

import difflib
import json
import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from sdxl_train_cli import gpu, process, spelling
from sdxl_train_cli.errors import Problem, SetupError
from sdxl_train_cli.installation import installer, network, toolchain, upstream
from sdxl_train_cli.installation.installer import Report
from sdxl_train_cli.installation.toolchain import Extra, Plan, TorchBuild
from sdxl_train_cli.layout import Home
from sdxl_train_cli.options import OptionTable
from sdxl_train_cli.rulebook import lycoris

INSIDE = Path(__file__).parents[1] / "inside"
NEEDED_GIB = 8.0
"""Free disk for torch, its CUDA libraries and the rest: 5.9 GB were measured for v0.10.1."""


class Request(BaseModel):
    """What setup was asked for; two equal requests make the same environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = upstream.DEFAULT_SOURCE
    ref: str = upstream.DEFAULT_REF
    python: str | None = None
    """A version such as `3.11`, or None for the one that sd-scripts is known to run with."""
    torch: TorchBuild = TorchBuild.AUTO
    extras: tuple[Extra, ...] = ()

    @field_validator("source")
    @classmethod
    def _from_anywhere(cls, source: str) -> str:
        """Keep a folder whole: the next setup may be asked from another one."""
        return upstream.located(source)


class Lock(BaseModel):
    """What was installed, exactly."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    request: Request
    ref: str
    commit: str
    toolchain: str | None
    """None: nothing was installed beside a checkout that brings its own accelerate (a rehearsal)."""
    torch_build: TorchBuild
    python: str
    packages: Mapping[str, str]
    eight_bit: bool = True
    """Whether bitsandbytes' 8-bit optimizers work here; its older releases need a GPU for them."""
    created: datetime


class Environment(BaseModel):
    """A whole environment on disk."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    lock: Lock

    @property
    def python(self) -> Path:
        """The venv's interpreter."""
        return _python(self.folder)

    @property
    def checkout(self) -> Path:
        """The sd-scripts files."""
        return _checkout(self.folder)

    @property
    def is_rehearsal(self) -> bool:
        """Whether the trainer is a stand-in, which trains nothing."""
        return self.lock.toolchain is None

    @property
    def networks(self) -> frozenset[str]:
        """Network modules that newer sd-scripts have and older ones lack, of which LyCORIS can stand in for some."""
        return frozenset(name for name in lycoris.NATIVE if (self.checkout / f"{name.replace('.', '/')}.py").is_file())

    def has(self, extra: Extra) -> bool:
        """Whether an extra is installed, by setup or by hand; a stand-in imports nothing and so lacks nothing."""
        return self.is_rehearsal or self._is_installed(extra.package)

    def has_module(self, name: str) -> bool:
        """Whether sd-scripts would find a module by this dotted name: among its own files, or in the venv."""
        top, *inner = name.split(".")
        own = [self.checkout / top, self.checkout / f"{top}.py"]
        if any(path.exists() for path in own):
            path = self.checkout.joinpath(top, *inner)
            return path.is_dir() or path.with_name(f"{path.name}.py").is_file()
        return self.is_rehearsal or self._is_installed(top)

    def _is_installed(self, package: str) -> bool:
        venv, places = self.folder / "venv", ("lib/python*/site-packages", "Lib/site-packages")
        return any(any(venv.glob(f"{place}/{name}")) for place in places for name in (package, f"{package}.py"))

    def options(self) -> OptionTable:
        """Every option of the installed training scripts."""
        return OptionTable.load(_options(self.folder))


def _python(folder: Path) -> Path:
    return folder / "venv" / ("Scripts/python.exe" if process.WINDOWS else "bin/python")


def _checkout(folder: Path) -> Path:
    return folder / "sd-scripts"


def _options(folder: Path) -> Path:
    return folder / "options.json"


def _lock(folder: Path) -> Path:
    return folder / "lock.json"


def find(home: Home) -> Environment | None:
    """The environment that counts, or None where there is none or its files are gone."""
    try:
        folder = home.environments / home.current.read_text(encoding="utf-8").strip()
        lock = Lock.model_validate_json(_lock(folder).read_text(encoding="utf-8"))
        OptionTable.load(_options(folder))
    except (OSError, ValueError):  # absent, or left broken by a power cut: NUL bytes, half a file
        return None
    whole = _python(folder).exists() and _checkout(folder).is_dir()
    return Environment(folder=folder, lock=lock) if whole else None


def require(home: Home) -> Environment:
    """The environment that counts; SetupError where there is none."""
    found = find(home)
    if found is None:
        raise SetupError("sd-scripts is not installed yet", "run `sdxl-train setup`")
    return found


def require_extras(installed: Environment, extras: Collection[Extra], what: str = "run") -> None:
    """SetupError with the command that installs what is missing beside what is there."""
    problem = lacking(installed, extras, what)
    if problem is not None:
        raise SetupError(problem)


def lacking(installed: Environment, extras: Collection[Extra], what: str) -> Problem | None:
    """The same as a problem; None where all is there."""
    missing = [extra for extra in extras if not installed.has(extra)]
    if not missing:
        return None
    wanted = sorted({*installed.lock.request.extras, *missing})
    instead = ", or --set xformers=false --set sdpa=true" if missing == [Extra.XFORMERS] else ""
    return Problem(
        f"{' and '.join(_EXTRA_NAMES[extra] for extra in missing)} is not installed, and this {what} needs it",
        f"run `sdxl-train setup {' '.join(f'--extra {extra.value}' for extra in wanted)}`{instead}",
    )


def require_modules(installed: Environment, modules: Mapping[str, str]) -> None:
    """SetupError with all modules, each named by an option, that sd-scripts would not find."""
    missing = {name: option for name, option in modules.items() if not installed.has_module(name)}
    if missing:
        raise SetupError([
            Problem(f"sd-scripts has no module {name}, which {option} asks for", _instead(installed, name, option))
            for name, option in missing.items()
        ])  # fmt: skip


def _instead(installed: Environment, name: str, option: str) -> str:
    package = name.partition(".")[0]
    if (installed.checkout / package).is_dir():
        there = [f"{package}.{path.stem}" for path in sorted((installed.checkout / package).glob("*.py"))]
        close = difflib.get_close_matches(name, there, n=3)
        return f"did you mean {' or '.join(close)}?" if close else f"--set {option}=null"
    return f"--set {option}=null, or uv pip install -p {spelling.shell_word(installed.python)} {package}"


_EXTRA_NAMES = {
    Extra.XFORMERS: "xformers",
    Extra.LYCORIS: "LyCORIS",
    Extra.DADAPTATION: "dadaptation",
    Extra.WANDB: "wandb",
    Extra.TAGGER: "onnxruntime (for the tagger)",
}


def create(home: Home, request: Request, *, recreate: bool, report: Report) -> Environment:
    """Make the environment that `request` describes, unless it is there already.

    Raises SetupError with the cause; then nothing half-made is left and the environment before it still counts.
    """
    _make_folder(home.environments)
    with _disk_errors(home), _only_one(home, report):
        found = find(home)
        if found is not None and found.lock.request == request and not recreate:
            return found
        _clear(home, keep=found)
        folder = home.environments / f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        try:
            built = _build(home, folder, request, report)
            _write(home.current, folder.name)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        _clear(home, keep=built)
    return built


@contextmanager
def _only_one(home: Home, report: Report) -> Iterator[None]:
    from filelock import FileLock, Timeout  # noqa: PLC0415 - only setup needs it

    lock = FileLock(home.setup_lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report("another setup is at work: waiting for it to end (Ctrl-C stops waiting)")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _clear(home: Home, keep: Environment | None) -> None:
    """Remove what killed setups left and environments that no longer count, unless a run still uses one."""
    for folder in home.environments.iterdir():
        if (keep is None or folder != keep.folder) and not process.running_from(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _build(home: Home, folder: Path, request: Request, report: Report) -> Environment:
    with home.setup_log.open("wb") as log:
        report(f"sd-scripts: taking {request.ref} from {request.source}")
        checkout = upstream.create(_checkout(folder), request.source, request.ref)
        if checkout.ref != request.ref:
            report(f"sd-scripts: this source has no branch '{request.ref}' (upstream merged it): using {checkout.ref}")
        requirements = (checkout.folder / "requirements.txt").read_text(encoding="utf-8")
        row = toolchain.choose(requirements, brings_accelerate=(checkout.folder / "accelerate").is_dir())
        plan = toolchain.plan(row, requirements, request.torch, request.extras, gpu.devices())
        if plan.toolchain is not None:
            _require_space(home)
            plan = _within_reach(plan, request, report)
        tools = installer.Tools(log, home.setup_log, report)
        installer.make_venv(folder / "venv", request.python, plan.toolchain, tools)
        _require_64_bit(folder)
        installer.install(_python(folder), plan, tools)
        report("checking the environment")
        facts = _ask(folder, "probe.py", *(extra.package for extra in request.extras)) if plan.toolchain else {}
        _require_gpu_support(facts, plan)
        _write(_options(folder), OptionTable.model_validate(_ask(folder, "flags.py")).model_dump_json(indent=1))
        lock = Lock(
            request=request,
            ref=checkout.ref,
            commit=checkout.commit,
            toolchain=plan.toolchain.name if plan.toolchain else None,
            torch_build=plan.build,
            python=str(facts.get("python", "")),
            packages=facts.get("packages", {}),
            eight_bit=facts.get("eight_bit", True),
            created=datetime.now(timezone.utc),
        )
        _write(_lock(folder), lock.model_dump_json(indent=1))
    return Environment(folder=folder, lock=lock)


def _within_reach(plan: Plan, request: Request, report: Report) -> Plan:
    """Fall back to the default package index where PyTorch's own can't be reached and any build will do."""
    if plan.backend is None or network.reachable(toolchain.TORCH_INDEX):
        return plan
    windows_gpu = process.WINDOWS and plan.build is not TorchBuild.CPU
    if request.torch is not TorchBuild.AUTO or windows_gpu:
        raise SetupError(
            f"PyTorch's package index can't be reached, and only it has the {plan.build.value} build",
            "check the network or proxy, or take the default index's build with --torch default",
        )
    report(f"PyTorch's package index can't be reached: using the default index's build, not {plan.build.value}")
    return Plan(plan.toolchain, TorchBuild.DEFAULT, plan.requirements, None)


def _require_space(home: Home) -> None:
    free_gib = shutil.disk_usage(home.path).free / gpu.GIB
    if free_gib < NEEDED_GIB:
        raise SetupError(
            f"{home.path} has {free_gib:.1f} GB free; torch and its libraries need {NEEDED_GIB:g}",
            "free some space, or choose another place with --home",
        )


def _require_64_bit(folder: Path) -> None:
    facts = process.run([str(_python(folder)), "-c", "import struct; print(struct.calcsize('P') * 8)"])
    if facts.stdout.strip() != "64":
        raise SetupError(
            f"{_python(folder)} is not a 64-bit Python, and torch has no other", "install a 64-bit Python 3.11"
        )


def _require_gpu_support(facts: Mapping[str, Any], plan: Plan) -> None:
    """A torch that can't use the GPU that is there would be found out only when a run has begun."""
    there = gpu.devices()
    if plan.toolchain is None or not there or plan.build is TorchBuild.CPU:
        return
    torch = facts["torch"]
    if not torch["cuda_available"]:
        raise SetupError(
            f"torch {torch['version']} sees no GPU, and there is {there[0].name} (driver {there[0].driver})",
            "update the NVIDIA driver, or choose a build: --torch cu124",
        )
    lacking = [device["name"] for device in torch["devices"] if not device["arch_supported"]]
    if lacking:
        raise SetupError(f"torch {torch['version']} holds no code for {', '.join(lacking)}", "try --torch cu128")


def _ask(folder: Path, script: str, *arguments: str) -> dict[str, Any]:
    """Run one of our scripts in the environment and read the JSON object that it prints."""
    answer = process.run(
        [str(_python(folder)), str(INSIDE / script), *arguments], cwd=_checkout(folder), env=training_variables()
    )
    if answer.code != 0:
        words = answer.stderr.strip().splitlines() or [f"exit code {answer.code}"]
        raise SetupError(f"the new environment does not work: {words[-1]}", "see `sdxl-train setup --help` for --torch")
    facts: dict[str, Any] = json.loads(answer.stdout)
    return facts


def ask(environment: Environment, script: str, *arguments: str) -> dict[str, Any]:
    """Run one of our scripts in the environment; SetupError where it fails."""
    return _ask(environment.folder, script, *arguments)


def training_variables() -> dict[str, str]:
    """The environment variables that everything on the training side runs with."""
    kept = {name: value for name, value in os.environ.items() if name not in _HARMFUL}
    return {**kept, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


_HARMFUL = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "PYTHONSAFEPATH", "PYTHONIOENCODING",
            "PYTHONDONTWRITEBYTECODE")  # fmt: skip
"""Would let the CLI's own packages, or the user's, into the isolated environment, or hide sd-scripts' from itself; end
a run at a printed letter; or, the last one, make every run compile torch's Python anew, 10 seconds each time."""


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"{folder} can't be made: {error.strerror}", "choose another place with --home or SDXL_TRAIN_HOME"
        ) from error


def _write(path: Path, text: str) -> None:
    """Write beside, then rename: a reader sees the old file or the new one, never half of one."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


@contextmanager
def _disk_errors(home: Home) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"{error.filename or home.path} can't be written: {error.strerror}", "choose another place with --home"
        ) from error
