"""Compare the packages of an environment with the pins, with what setup installed, and with each other's wishes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from sdxl_train_cli.environment.doctor_answer import PackageFacts
from sdxl_train_cli.environment.wheel_folder import Target


class VersionFault(str, Enum):
    """How a package's version is wrong."""

    MISSING = "missing"
    UNFIT = "unfit"
    """Against a pin, or against what another package asks for."""
    CHANGED = "changed"
    """Not the one that setup installed, and nothing speaks against it."""


@dataclass(frozen=True)
class PackageFault:
    """One package that is not as it should be."""

    package: str
    fault: VersionFault
    version: str | None
    wanted: str
    """The requirement that mends it, as uv takes it."""
    who_asks: str
    """Such as `the pins ask for`."""
    asked: str
    """The requirement that it breaks."""


@dataclass(frozen=True)
class _Wish:
    requirement: Requirement
    by: str
    is_pin: bool


def find(
    packages: Mapping[str, PackageFacts], pins: Sequence[str], installed: Mapping[str, str], python: str
) -> list[PackageFault]:
    """Every package that is missing or has another version. `installed` is what setup noted, by name."""
    target = Target(python)
    wishes: dict[str, list[_Wish]] = {}
    for wish in _wishes(packages, pins):
        if target.needs(wish.requirement):
            wishes.setdefault(canonicalize_name(wish.requirement.name), []).append(wish)
    judged = (_judge(name, packages.get(name), wishes.get(name, []), installed.get(name)) for name in
              sorted({*wishes, *packages}))  # fmt: skip
    return [fault for fault in judged if fault is not None]


def _wishes(packages: Mapping[str, PackageFacts], pins: Sequence[str]) -> Iterator[_Wish]:
    yield from (_Wish(Requirement(pin), "the pins ask for", is_pin=True) for pin in pins)
    for name, facts in packages.items():
        for line in facts.requires:
            try:
                yield _Wish(Requirement(line), f"{name} asks for", is_pin=False)
            except InvalidRequirement:
                continue


def _judge(
    name: str, facts: PackageFacts | None, wishes: Sequence[_Wish], installed: str | None
) -> PackageFault | None:
    version = facts.version if facts else None
    if facts and installed in facts.hidden:
        installed = None
    refusing = [wish for wish in wishes if not version or not _takes(wish.requirement, version)]
    if version == installed or installed is None:  # setup's own resolution went past what packages ask for
        refusing = [wish for wish in refusing if wish.is_pin]
    pins = [wish.requirement for wish in wishes if wish.is_pin]
    exact = installed is not None and all(_takes(pin, installed) for pin in pins)
    wanted = f"{name}=={installed}" if exact else "".join(map(str, pins[:1]))
    if refusing:
        asked = f"{name}{refusing[0].requirement.specifier}"
        fault = VersionFault.UNFIT if version else VersionFault.MISSING
        return PackageFault(name, fault, version, wanted or asked, refusing[0].by, asked)
    if version and installed and version != installed:
        return PackageFault(name, VersionFault.CHANGED, version, wanted, "setup installed", f"{name}=={installed}")
    return None


def _takes(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(version, prereleases=True)
    except ValueError:
        return False
