"""A folder with everything that setup would download: wheels, sd-scripts and the two CLIP tokenizers.

`sdxl-train setup --download FOLDER` fills one; `sdxl-train setup --wheels FOLDER` installs from it without a network.
"""

from __future__ import annotations

import platform
import shutil
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from enum import Enum
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags, platform_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from sdxl_train_cli import files, formatting, process
from sdxl_train_cli.environment.hub import TOKENIZERS
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.layout import Home


class System(str, Enum):
    """A system that wheels are built for."""

    LINUX = "linux"
    LINUX_ARM = "linux-arm"
    WINDOWS = "windows"

    @classmethod
    def here(cls) -> System:
        """This machine's."""
        if process.WINDOWS:
            return cls.WINDOWS
        return cls.LINUX_ARM if platform.machine() == "aarch64" else cls.LINUX

    @property
    def uv(self) -> str:
        """Uv's name of it."""
        return {"linux": "x86_64-manylinux_2_28", "linux-arm": "aarch64-manylinux_2_28", "windows": "windows"}[
            self.value
        ]

    @property
    def tags(self) -> tuple[str, ...]:
        """Pip's names of what it takes. pip takes each literally."""
        if self is System.WINDOWS:
            return ("win_amd64",)
        machine = "aarch64" if self is System.LINUX_ARM else "x86_64"
        return (*(f"manylinux_2_{minor}_{machine}" for minor in range(28, 16, -1)), f"manylinux2014_{machine}",
                f"manylinux2010_{machine}", f"manylinux1_{machine}")  # fmt: skip


@dataclass(frozen=True)
class WheelFolder:
    """The folder, as it is laid out."""

    path: Path

    @property
    def source(self) -> Path:
        """sd-scripts: the files that training needs."""
        return self.path / "sd-scripts"

    @property
    def log(self) -> Path:
        """The full output of the last download."""
        return self.path / "download.log"

    @property
    def tokenizers(self) -> Path:
        """The two CLIP tokenizers, as sd-scripts keeps them."""
        return self.path / "tokenizers"

    @cached_property
    def wheels(self) -> Mapping[str, list[tuple[Version, frozenset[Tag], Path]]]:
        """Every wheel by its package, the newest first."""
        found: dict[str, list[tuple[Version, frozenset[Tag], Path]]] = {}
        for path in self.path.glob("*.whl"):
            try:
                name, version, _, tags = parse_wheel_filename(path.name)
            except (InvalidWheelFilename, InvalidVersion):
                continue
            found.setdefault(name, []).append((version, tags, path))
        return {name: sorted(wheels, key=lambda wheel: wheel[0], reverse=True) for name, wheels in found.items()}

    def pip(self) -> Path | None:
        """pip, which runs out of its wheel."""
        return self.wheels["pip"][0][2] if "pip" in self.wheels else None


@dataclass(frozen=True)
class Target:
    """The Python that is to install from the folder."""

    version: str
    platforms: tuple[str, ...] = tuple(platform_tags())
    """What its wheels may be built for, the best first. The default is this machine."""
    markers: Mapping[str, str] | None = None
    """What markers say of its system. None is this machine."""

    @cached_property
    def tags(self) -> frozenset[Tag]:
        """Every wheel that it takes."""
        major, minor = (int(number) for number in self.version.split(".")[:2])
        name = f"cp{major}{minor}"
        own = cpython_tags((major, minor), [name], self.platforms)
        return frozenset((*own, *compatible_tags((major, minor), name, self.platforms)))

    def needs(self, requirement: Requirement, extras: Collection[str] = ()) -> bool:
        """Whether a requirement applies to it."""
        if requirement.marker is None:
            return True
        short = ".".join(self.version.split(".")[:2])
        here = {name: str(value) for name, value in default_environment().items()} | dict(self.markers or {})
        here |= {"python_version": short, "python_full_version": self.version}
        return any(requirement.marker.evaluate({**here, "extra": extra}) for extra in extras or ("",))


def require(path: Path) -> WheelFolder:
    """The folder. SetupError if it is none."""
    if not files.is_folder(path):
        raise SetupError(
            f"no folder {path} to take wheels from",
            "fill one where there is a network: `sdxl-train setup --download FOLDER`; or use it: --wheels ''",
        )
    return WheelFolder(path)


def require_complete(folder: WheelFolder, wanted: Iterable[str], target: Target, packages: Mapping[str, str]) -> None:
    """SetupError listing every wheel that neither the folder nor the other Python has."""
    missing = dict[str, tuple[str, str]]()  # by package: two may need the same one
    for requirement, why in _missing(folder, [Requirement(one) for one in wanted], target, packages):
        text = f"{requirement.name}{requirement.specifier}"
        name = canonicalize_name(requirement.name)
        missing[name] = max(missing.get(name, ("", "")), (text, why), key=lambda one: len(one[0]))
    if not missing:
        return
    torch = ["--torch", "existing"] if packages else []
    everything = ["sdxl-train", "setup", "--download", "FOLDER", *torch, "--python", target.version]
    fetch = ["pip", "download", "--dest", "FOLDER", "--no-deps", "--python-version", target.version]
    fetch += ["--only-binary=:all:", "--platform", System.here().tags[0], *(text for text, _ in missing.values())]
    listed = (f"{text} (for {why})" if why else text for text, why in missing.values())
    raise SetupError(
        f"{folder.path} lacks {formatting.counted(len(missing), 'wheel')} for Python {target.version}: "
        f"{', '.join(listed)}",
        f"where there is a network: `{formatting.shell_line(everything)}`\n"
        f"or these alone: `{formatting.shell_line(fetch)}`",
    )


def _missing(
    folder: WheelFolder, wanted: list[Requirement], target: Target, packages: Mapping[str, str]
) -> Iterator[tuple[Requirement, str]]:
    """What no wheel satisfies, with who needs it. A look, not a resolution: pip decides afterwards."""
    queue = deque((one, frozenset[str](), "") for one in wanted)
    seen = set[str]()
    while queue:
        requirement, extras, why = queue.popleft()
        if not target.needs(requirement, extras) or str(requirement) in seen or _is_there(requirement, packages):
            continue
        seen.add(str(requirement))
        wheel = _wheel(folder, requirement, target)
        if wheel is None:
            yield requirement, why
            continue
        queue.extend((one, frozenset(requirement.extras), requirement.name) for one in _needs(wheel))


def _is_there(requirement: Requirement, packages: Mapping[str, str]) -> bool:
    version = packages.get(canonicalize_name(requirement.name))
    try:
        return version is not None and requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def _wheel(folder: WheelFolder, requirement: Requirement, target: Target) -> Path | None:
    for version, tags, path in folder.wheels.get(canonicalize_name(requirement.name), ()):
        if requirement.specifier.contains(version, prereleases=True) and not tags.isdisjoint(target.tags):
            return path
    return None


def _needs(wheel: Path) -> list[Requirement]:
    """What a wheel says that it needs."""
    try:
        with ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            headers = HeaderParser().parsestr(archive.read(name).decode("utf-8", "replace"))
    except (OSError, BadZipFile, StopIteration) as error:
        raise SetupError(f"{wheel} is not a whole wheel: {error}", "fetch it again") from error
    return [Requirement(line) for line in headers.get_all("Requires-Dist") or ()]


def take_tokenizers(folder: WheelFolder, home: Home) -> list[str]:
    """Copy the tokenizers into the home, unless they are there. Returns the names of those that the folder lacks."""
    lacking = []
    for name in TOKENIZERS:
        if files.is_file(home.tokenizers / name / "vocab.json"):
            continue
        if not files.is_file(folder.tokenizers / name / "vocab.json"):
            lacking.append(name)
            continue
        shutil.copytree(folder.tokenizers / name, home.tokenizers / name, dirs_exist_ok=True)
    return lacking
