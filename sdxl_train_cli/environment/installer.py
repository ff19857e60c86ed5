"""Create the venv and install packages, with uv or beside another Python with pip.

Failures are summarised in one line; what uv and pip print is in the log.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sdxl_train_cli import files, formatting, process, redact
from sdxl_train_cli.environment.existing_torch import OtherPython
from sdxl_train_cli.environment.toolchain import InstallPlan, Toolchain
from sdxl_train_cli.environment.wheel_folder import WheelFolder
from sdxl_train_cli.errors import SetupError

try:
    from uv import find_uv_bin
except ImportError:  # beside another Python, pip does the work

    def find_uv_bin() -> str:
        """Say how to get uv."""
        raise SetupError("uv is not installed", "install it: `python -m pip install uv`, or use --torch existing")


Report = Callable[[str], None]
"""Called with one line for the waiting user."""


@dataclass(frozen=True)
class Installer:
    """Destinations of an installation's output."""

    log: BinaryIO
    log_path: Path
    report: Report


def make_venv(folder: Path, python: str | None, row: Toolchain | None, tools: Installer) -> None:
    """Create a venv with the requested Python, else the best known version, else any that sd-scripts supports."""
    known_good = [row.python, row.python_range] if row else [sys.executable]
    wanted = [python] if python else known_good
    for version in wanted:
        tools.report(f"making a venv with Python {version}")
        code, _ = run_uv(["venv", "--no-project", "--python", version, str(folder)], tools)
        if code == 0:
            return
    known = f"Python {row.python_range}, which {row.name} runs with" if row else "any Python 3"
    raise SetupError(f"no Python {wanted[-1]} was found, and none could be fetched", f"install {known}")


def install(python: Path, plan: InstallPlan, folder: WheelFolder | None, tools: Installer) -> None:
    """Install the plan's requirements in a single resolution, so that nothing replaces the chosen torch.

    With a folder of wheels, nothing is asked of a network.
    """
    if not plan.requirements:
        return
    tools.report(f"installing torch ({plan.build.value}) and {len(plan.requirements) - 1} requirements, several GB")
    backend = ["--torch-backend", plan.backend] if plan.backend else []
    offline = ["--offline", "--no-index", "--find-links", str(folder.path)] if folder else backend
    code, lines = run_uv(["pip", "install", "--python", str(python), *offline, *plan.requirements], tools)
    if code != 0:
        raise explained(lines, tools)


def reinstall(  # noqa: PLR0913, PLR0917 - each is used once
    python: Path,
    requirements: Sequence[str],
    backend: str | None,
    folder: WheelFolder | None,
    anew: bool,
    tools: Installer,
) -> None:
    """Install these packages again, and nothing else. `anew` leaves out uv's cache.

    uv links files of its cache into a venv, so a file that is broken in one may be broken in the other.
    """
    options = ["--no-deps", "--reinstall", *(["--no-cache"] if anew else [])]
    offline = ["--offline", "--no-index", "--find-links", str(folder.path)] if folder else []
    index = ["--torch-backend", backend] if backend and not folder else []
    argv = ["pip", "install", "--python", str(python), *options, *offline, *index, *requirements]
    code, lines = run_uv(argv, tools)
    if code != 0:
        raise explained(lines, tools)


def make_venv_beside(folder: Path, other: OtherPython, tools: Installer) -> None:
    """Create a venv of another Python, without packages."""
    tools.report(f"making a venv with Python {other.version}")
    code, lines = _run([other.torch.python, "-B", "-m", "venv", "--without-pip", str(folder)], os.environ, tools)
    if code != 0:
        raise SetupError(
            f"{other.torch.python} can't make a venv: {lines[-1].strip() if lines else f'exit code {code}'}",
            "install its module venv (Debian and Ubuntu: apt install python3-venv)",
        )


def install_beside(
    python: Path, plan: InstallPlan, other: OtherPython, folder: WheelFolder | None, tools: Installer
) -> None:
    """Install what another Python lacks or has in versions that clash. pip sees both, which uv does not."""
    tools.report("installing what is missing beside it")
    constraints = python.parent / "constraints.txt"
    files.write(constraints, "".join(f"{one}\n" for one in plan.constraints))
    offline = ["--no-index", "--find-links", str(folder.path)] if folder else []
    variables = {name: text for name, text in os.environ.items() if name not in _IN_THE_WAY}
    if folder:  # find-links of the user's own would be asked too
        variables = {name: text for name, text in variables.items() if not name.startswith("PIP_")}
        variables["PIP_CONFIG_FILE"] = os.devnull
    argv = [*_pip(python, other, folder, tools), "install", *_QUIET, *offline, "--constraint", str(constraints)]
    code, lines = _run([*argv, *plan.requirements], variables, tools)
    if code != 0:
        raise explained(lines, tools)


_IN_THE_WAY = (
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_REQUIRE_VIRTUALENV",
)
_QUIET = ("--no-input", "--disable-pip-version-check", "--no-compile", "--progress-bar", "off")
_KNOWS_PYTHON = (22, 3)
"""The first pip with --python."""


def _pip(python: Path, other: OtherPython, folder: WheelFolder | None, tools: Installer) -> list[str]:
    """A pip for the venv: out of the folder, or the other Python's, or one that uv fetches."""
    wheel = folder.pip() if folder else None
    if wheel is not None:
        return [str(python), str(wheel / "pip")]
    version = re.match(r"(\d+)\.(\d+)", other.packages.get("pip", ""))
    if version and (int(version[1]), int(version[2])) >= _KNOWS_PYTHON:
        return [other.torch.python, "-B", "-m", "pip", "--python", str(python)]
    if folder:
        raise SetupError(
            f"neither {folder.path} nor {other.torch.python} has pip", "put a wheel of pip into the folder"
        )
    run_uv(["pip", "install", "--python", str(python), "pip"], tools)
    return [str(python), "-m", "pip"]


def run_uv(arguments: Sequence[str], tools: Installer) -> tuple[int, list[str]]:
    """Run uv. Its output goes to the log, and is returned."""
    # Trust the system's certificates, as pip and git do: company proxies use their own.
    return _run([find_uv_bin(), *arguments], {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1", **os.environ}, tools)


def _run(argv: Sequence[str], variables: Mapping[str, str], tools: Installer) -> tuple[int, list[str]]:
    lines = []
    with process.Child(argv, cwd=tools.log_path.parent, env=variables) as child:
        for heard in child.lines():
            if heard is None:
                continue
            line = redact.text(heard)  # an index URL may contain a password
            with contextlib.suppress(OSError):  # on a full disk, uv itself fails and says so
                tools.log.write(f"{line}\n".encode())
            lines.append(line)
            if re.match(r" *Downloading |Resolved |Prepared |Installed |Successfully installed ", line):
                tools.report(formatting.cut(line.strip(), _LONGEST_REPORT))
        return child.wait(), lines


_LONGEST_REPORT = 200
_CAUSES = (
    (r"No space left|not enough space|os error 28|os error 112", "the disk is full",
     "free some space, or choose another place with --home"),
    (r"[Cc]ertificate", "the package index's certificate is not trusted",
     "set SSL_CERT_FILE to the certificates of your network"),
    (r"dns error|error sending request|Failed to fetch|Could not connect|timed out",
     "the package index can't be reached",
     "check the network or proxy (HTTPS_PROXY, UV_DEFAULT_INDEX) and try again, or use a folder with --wheels"),
    (r"[Nn]o solution found|ResolutionImpossible", "the requirements conflict with each other",
     "try without --extra, or another --python"),
    (r"[Pp]ermission denied|os error 13", "a file can't be written", "choose another place with --home"),
)  # fmt: skip


def explained(lines: Sequence[str], tools: Installer) -> SetupError:
    """Why uv or pip failed, in a line."""
    words = "\n".join(lines)
    for sign, message, hint in _CAUSES:
        if re.search(sign, words):
            return SetupError(f"{message} (full log: {tools.log_path})", hint)
    last = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "uv said nothing")
    return SetupError(f"packages could not be installed: {last.strip()}", f"full log: {tools.log_path}")
