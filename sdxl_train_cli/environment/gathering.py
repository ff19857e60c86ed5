"""Fill a folder with all that setup installs, for another machine that has no network."""

from __future__ import annotations

import importlib.metadata
import re
import tempfile
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from sdxl_train_cli import files
from sdxl_train_cli.environment import beside, hub, installer, toolchain, unpacked, upstream
from sdxl_train_cli.environment.environment import SetupRequest
from sdxl_train_cli.environment.installer import Installer, Report
from sdxl_train_cli.environment.toolchain import InstallPlan, TorchBuild
from sdxl_train_cli.environment.wheel_folder import System, WheelFolder
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.layout import APP, Home

_DEFAULT_PYTHON = "3.11"
_SECONDS = 60.0


@dataclass(frozen=True)
class OtherMachine:
    """The machine that shall install from the folder."""

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


def download(
    home: Home, folder: WheelFolder, request: SetupRequest, address: str, machine: OtherMachine, report: Report
) -> None:
    """Fetch sd-scripts, wheels and tokenizers. SetupError with the cause; what is there by then stays."""
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        with files.open_new(folder.log) as log:
            _download(home, folder, request, address, machine, Installer(log, folder.log, report))
    except OSError as error:
        raise SetupError(f"{folder.path} can't be written: {error.strerror}", "give --download another") from error


def _download(
    home: Home, folder: WheelFolder, request: SetupRequest, address: str, machine: OtherMachine, tools: Installer
) -> None:
    with tempfile.TemporaryDirectory(prefix="sdxl-train-download-") as name:
        work = Path(name)
        tools.report(f"sd-scripts: fetching {request.ref} from {request.source}")
        checkout = upstream.create(work / "sd-scripts", address, request.ref)
        unpacked.write(checkout, folder.source)
        requirements = files.read_text(checkout.folder / "requirements.txt")
        row = toolchain.choose(requirements, brings_accelerate=False)
        if row is None:
            raise SetupError("this sd-scripts has no requirements to fetch", "try --ref sdxl")
        if request.torch is TorchBuild.EXISTING:
            plan = beside.plan(row, requirements, request.extras, machine.packages)
        else:
            plan = toolchain.plan(row, requirements, request.torch, request.extras, ())
        python = request.python or (_DEFAULT_PYTHON if request.torch is TorchBuild.EXISTING else row.python)
        pins = _resolve(work, plan, plan.requirements, python, machine, tools)
        pins |= _resolve(work, plan, _own_requirements(), python, machine, tools)
        _fetch(folder, sorted(pins | {"pip"}), plan, python, machine, tools)
    _fetch_tokenizers(folder, home, tools)


def _own_requirements() -> list[str]:
    """What sdxl-train itself needs there."""
    return [line for line in importlib.metadata.requires(APP) or () if "extra ==" not in line]


def _resolve(
    work: Path, plan: InstallPlan, wanted: Iterable[str], python: str, machine: OtherMachine, tools: Installer
) -> set[str]:
    """Exact versions of all that is needed and not there yet. What is there is preferred, as pip will do it."""
    left_out = beside.TORCH_FAMILY if plan.build is TorchBuild.EXISTING else ()
    given, chosen, overrides = work / "wanted.in", work / "chosen.txt", work / "overrides.txt"
    files.write(given, "\n".join(one for one in wanted if Requirement(one).name not in left_out))
    files.write(chosen, "\n".join(f"{name}=={version}" for name, version in machine.packages.items()))
    files.write(overrides, "\n".join(f"{name}; python_version < '0'" for name in left_out))
    code, lines = installer.run_uv(
        ["pip", "compile", str(given), "--output-file", str(chosen), "--override", str(overrides), "--no-header",
         "--no-annotate", "--quiet", "--python-version", python, "--python-platform", machine.system.uv,
         *(["--torch-backend", plan.backend] if plan.backend else [])], tools,
    )  # fmt: skip
    if code != 0:
        raise installer.explained(lines, tools)
    found = [line.split(";")[0].strip() for line in files.read_text(chosen).splitlines() if "==" in line]
    there = {f"{name}=={version}" for name, version in machine.packages.items()}
    return {pin for pin in found if f"{canonicalize_name(pin.split('==')[0])}=={pin.split('==')[1]}" not in there}


def _fetch(
    folder: WheelFolder, pins: Sequence[str], plan: InstallPlan, python: str, machine: OtherMachine, tools: Installer
) -> None:
    """Download wheels. A package of which there is only source is built, which serves where it is plain Python."""
    tools.report(f"fetching {len(pins)} packages for Python {python} on {machine.system.value}")
    index = ["--extra-index-url", f"https://download.pytorch.org/whl/{plan.backend}"] if plan.backend else []
    wheels, sources = list(pins), list[str]()
    target = ["--only-binary=:all:", "--python-version", python]
    target += [word for one in machine.system.tags for word in ("--platform", one)]
    while True:
        code, lines = _pip(["download", "--dest", str(folder.path), "--no-deps", *index, *target, *wheels], tools)
        lacking = re.search(r"No matching distribution found for (\S+)", "\n".join(lines))
        if code == 0:
            break
        if lacking is None or lacking[1] not in wheels:
            raise installer.explained(lines, tools)
        wheels.remove(lacking[1])
        sources.append(lacking[1])
    for pin in sources:
        code, lines = _pip(["wheel", "--wheel-dir", str(folder.path), "--no-deps", pin], tools)
        built = [path for path in folder.path.glob("*.whl") if _is_of(path, pin)]
        if code != 0 or not any(path.name.endswith("-any.whl") for path in built):
            raise SetupError(f"there is no wheel of {pin} for {machine.system.value}", f"full log: {tools.log_path}")


def _is_of(wheel: Path, pin: str) -> bool:
    name, version, _, _ = parse_wheel_filename(wheel.name)
    return f"{name}=={version}" == f"{canonicalize_name(pin.split('==', maxsplit=1)[0])}=={pin.split('==')[1]}"


def _pip(arguments: Sequence[str], tools: Installer) -> tuple[int, list[str]]:
    quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    return installer.run_uv(["tool", "run", "--quiet", "pip", arguments[0], *quiet, *arguments[1:]], tools)


def _fetch_tokenizers(folder: WheelFolder, home: Home, tools: Installer) -> None:
    """The two CLIP tokenizers, from the home or the hub."""
    for name in hub.TOKENIZERS:
        target = folder.tokenizers / name
        try:
            for file in hub.TOKENIZER_FILES:
                there = home.tokenizers / name / file
                if not files.is_file(target / file):
                    target.mkdir(parents=True, exist_ok=True)
                    files.write(target / file, there.read_bytes() if there.is_file() else _fetched(name, file))
        except OSError as error:
            tools.report(f"the tokenizer {name} could not be fetched ({error}): copy it into {target}")


def _fetched(name: str, file: str) -> bytes:
    with urllib.request.urlopen(hub.tokenizer_url(name, file), timeout=_SECONDS) as answer:  # noqa: S310 - https, or the user's own mirror
        return bytes(answer.read())
