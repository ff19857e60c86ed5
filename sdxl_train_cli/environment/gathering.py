"""Fill a folder with all that setup installs, for another machine that has no network."""

from __future__ import annotations

import importlib.metadata
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from sdxl_train_cli import files
from sdxl_train_cli.environment import beside, hub, installer, network, toolchain, unpacked, upstream
from sdxl_train_cli.environment.environment import SetupRequest
from sdxl_train_cli.environment.installer import Installer, Report
from sdxl_train_cli.environment.toolchain import InstallPlan, TorchBuild
from sdxl_train_cli.environment.wheel_folder import System, WheelFolder
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.layout import APP, Home


@dataclass(frozen=True)
class OtherMachine:
    """The machine that shall install from the folder."""

    address: str
    """Where sd-scripts is fetched from, with the password if it has one."""
    python: str
    system: System
    packages: Mapping[str, str]
    """What its Python has already."""


def read_packages(path: Path | None) -> dict[str, str]:
    """What `pip list --format freeze` says that there is."""
    try:
        lines = files.read_text(path).splitlines() if path else []
    except (OSError, ValueError) as error:
        raise SetupError(
            f"{path} can't be read: {error}", "make it there: `pip list --format freeze > FILE`"
        ) from error
    pairs = (line.partition("==")[::2] for line in lines if "==" in line)
    return {canonicalize_name(name): version.strip() for name, version in pairs}


def download(home: Home, folder: WheelFolder, request: SetupRequest, machine: OtherMachine, report: Report) -> None:
    """Fetch sd-scripts, wheels and tokenizers. SetupError with the cause; what is there by then stays."""
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        with files.open_new(folder.log) as log, tempfile.TemporaryDirectory(prefix="sdxl-train-download-") as name:
            tools = Installer(log, folder.log, report)
            downloads = _Downloads(
                folder, machine, Path(name), _plan(Path(name), folder, request, machine, tools), tools
            )
            own = [line for line in importlib.metadata.requires(APP) or () if "extra ==" not in line]
            needed = downloads.resolve(downloads.plan.requirements)
            downloads.fetch(sorted({*needed, "pip"}))
            downloads.fetch(sorted(downloads.resolve(own) - needed))
        _fetch_tokenizers(folder, home, report)
    except OSError as error:
        raise SetupError(f"{folder.path} can't be written: {error.strerror}", "give --download another") from error


def _plan(
    work: Path, folder: WheelFolder, request: SetupRequest, machine: OtherMachine, tools: Installer
) -> InstallPlan:
    """What to fetch for the release of sd-scripts that is put into the folder."""
    tools.report(f"sd-scripts: fetching {request.ref or 'the newest known release'} from {request.source}")
    checkout = upstream.create(work / "sd-scripts", machine.address, request.ref)
    unpacked.write(checkout, folder.source)
    requirements = files.read_text(checkout.folder / "requirements.txt")
    row = toolchain.choose(requirements, brings_accelerate=False)
    if row is not None and request.torch is TorchBuild.EXISTING:
        return beside.plan(row, requirements, request.extras, machine.packages)
    return toolchain.plan(row, requirements, request.torch, request.extras, ())


@dataclass(frozen=True)
class _Downloads:
    """Wheels on their way into a folder."""

    folder: WheelFolder
    machine: OtherMachine
    work: Path
    plan: InstallPlan
    tools: Installer

    def resolve(self, wanted: Iterable[str]) -> set[str]:
        """Exact versions of all that is needed and not there. What is there is preferred, as pip does there."""
        is_beside = self.plan.build is TorchBuild.EXISTING
        left_out = beside.TORCH_FAMILY if is_beside else ()
        given, chosen, overrides = (self.work / name for name in ("wanted.in", "chosen.txt", "overrides.txt"))
        there = {f"{name}=={version}" for name, version in self.machine.packages.items()}
        before = files.read_text(chosen).splitlines() if chosen.is_file() else []
        files.write(given, "\n".join(one for one in wanted if Requirement(one).name not in left_out))
        files.write(chosen, "\n".join(sorted({*before, *there})))
        files.write(overrides, "\n".join(f"{name}; python_version < '0'" for name in left_out))
        code, lines = installer.run_uv(
            ["pip", "compile", str(given), "--output-file", str(chosen), "--override", str(overrides), "--no-header",
             "--no-annotate", "--quiet", "--python-version", self.machine.python,
             "--python-platform", self.machine.system.uv,
             *(["--torch-backend", self.plan.backend] if self.plan.backend else [])], self.tools,
        )  # fmt: skip
        if code != 0:
            raise installer.explained(lines, self.tools)
        return {pin for pin in map(_normal, files.read_text(chosen).splitlines()) if pin and pin not in there}

    def fetch(self, pins: Sequence[str]) -> None:
        """Download wheels. A package of which there is only source is built, which serves if it is plain Python."""
        if not pins:
            return
        machine = self.machine
        self.tools.report(f"fetching {len(pins)} packages for Python {machine.python} on {machine.system.value}")
        index = ["--extra-index-url", f"{_TORCH_INDEX}/{self.plan.backend}"] if self.plan.backend else []
        target = ["--only-binary=:all:", "--python-version", machine.python]
        target += [word for one in machine.system.tags for word in ("--platform", one)]
        wheels, where = list(pins), ["--dest", str(self.folder.path), "--no-deps"]
        while wheels:
            code, lines = _pip(["download", *where, *index, *target, *wheels], self.tools)
            if code == 0:
                return
            lacking = re.search(r"No matching distribution found for (\S+)", "\n".join(lines))
            if lacking is None or lacking[1] not in wheels:
                raise installer.explained(lines, self.tools)
            wheels.remove(lacking[1])
            self._build(lacking[1])

    def _build(self, pin: str) -> None:
        code, _ = _pip(["wheel", "--wheel-dir", str(self.folder.path), "--no-deps", pin], self.tools)
        built = [path for path in self.folder.path.glob("*.whl") if _is_of(path, pin)]
        if code != 0 or not any(path.name.endswith("-any.whl") for path in built):
            problem = f"there is no wheel of {pin} for {self.machine.system.value}"
            raise SetupError(problem, f"full log: {self.tools.log_path}")


_TORCH_INDEX = "https://download.pytorch.org/whl"


def _normal(line: str) -> str | None:
    """`name==version` with the name as PEP 503 has it."""
    name, _, version = line.partition(";")[0].strip().partition("==")
    return f"{canonicalize_name(name)}=={version}" if version else None


def _is_of(wheel: Path, pin: str) -> bool:
    name, version, _, _ = parse_wheel_filename(wheel.name)
    return f"{name}=={version}" == f"{canonicalize_name(pin.split('==', maxsplit=1)[0])}=={pin.split('==')[1]}"


def _pip(arguments: Sequence[str], tools: Installer) -> tuple[int, list[str]]:
    quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    return installer.run_uv(["tool", "run", "--quiet", "pip", arguments[0], *quiet, *arguments[1:]], tools)


def _fetch_tokenizers(folder: WheelFolder, home: Home, report: Report) -> None:
    """The two CLIP tokenizers, from the home or the hub."""
    for name in hub.TOKENIZERS:
        target = folder.tokenizers / name
        try:
            for file in hub.TOKENIZER_FILES:
                there = home.tokenizers / name / file
                if not files.is_file(target / file):
                    content = there.read_bytes() if there.is_file() else network.fetch(hub.tokenizer_url(name, file))
                    target.mkdir(parents=True, exist_ok=True)
                    files.write(target / file, content)
        except OSError as error:
            report(f"the tokenizer {name} could not be fetched ({error}): copy it into {target}")
