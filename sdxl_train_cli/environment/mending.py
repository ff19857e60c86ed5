"""Mend what the doctor found, as far as pins, the commit and the hub tell how it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from sdxl_train_cli import files, process
from sdxl_train_cli.environment import (
    beside,
    building,
    checkout_files,
    doctor,
    doctor_facts,
    hub,
    installer,
    network,
    wheel_folder,
)
from sdxl_train_cli.environment.doctor import CheckResult, CheckStatus
from sdxl_train_cli.environment.doctor_answer import AlteredFile, FileFaultKind
from sdxl_train_cli.environment.doctor_facts import DoctorFacts
from sdxl_train_cli.environment.installer import Installer, Report
from sdxl_train_cli.environment.toolchain import TorchBuild
from sdxl_train_cli.errors import SdxlTrainError, SetupError
from sdxl_train_cli.layout import Home


def mend(home: Home, output: Path, facts: DoctorFacts, report: Report) -> DoctorFacts:
    """Mend all that can be, then look again. What can't be mended is reported, and found once more.

    SetupError if something still runs from the environment.
    """
    if process.running_from(facts.parts.folder):
        raise SetupError("something still runs from this environment", "wait for it to end, or stop it")
    with building.only_one(home, report):
        if _mend_files(home, facts, report) + _mend_packages(home, facts, _unlike_the_pins(facts), report):
            facts = doctor_facts.gather(home, output)
        if _mend_packages(home, facts, _failing(facts), report):
            facts = doctor_facts.gather(home, output)
    return facts


def _mend_files(home: Home, facts: DoctorFacts, report: Report) -> int:
    """Tokenizers, checkout and options. Returns how much was tried."""
    tokenizers = [Path(fault.file) for fault in facts.tokenizers]
    lost = [fault.file for fault in facts.checkout.faults if not _may_be_wanted(fault)]
    tried = 0
    if tokenizers:
        tried += _tries(report, "fetching the tokenizers", lambda: _fetch(home, facts, tokenizers))
    if lost:
        words = f"restoring {', '.join(lost[:_MOST_NAMED])} of sd-scripts"
        tried += _tries(report, words, lambda: checkout_files.restore(facts.parts, facts.lock, lost))
    if not facts.has_options:
        tried += _tries(report, "asking sd-scripts for its options", lambda: _note_options(facts))
    return tried


_MOST_NAMED = 5


def _tries(report: Report, words: str, action: Callable[[], None]) -> int:
    report(words)
    try:
        action()
    except (SdxlTrainError, OSError) as error:
        report(f"{words}: {error}")
    return 1


def _may_be_wanted(fault: AlteredFile) -> bool:
    return fault.fault is FileFaultKind.CHANGED


def _fetch(home: Home, facts: DoctorFacts, paths: Sequence[Path]) -> None:
    """Fetch files of tokenizers, or copy them from the folder of wheels."""
    if facts.lock.request.wheels:
        wheel_folder.take_tokenizers(wheel_folder.require(Path(facts.lock.request.wheels)), home)
    for path in paths:
        if doctor_facts.tokenizer_fault(path):
            content = network.fetch(hub.tokenizer_url(path.parent.name, path.name))
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, content)


def _note_options(facts: DoctorFacts) -> None:
    options = building.read_options(facts.parts)
    files.write(facts.parts.options, options.model_dump_json(indent=1))


def _unlike_the_pins(facts: DoctorFacts) -> dict[str, str]:
    """Packages whose version or files are wrong, each with its requirement."""
    broken = facts.answer.files if facts.answer else {}
    found = {
        name: _as_installed(facts, name) for name, faults in broken.items() if not all(map(_may_be_wanted, faults))
    }
    return found | {fault.package: fault.wanted for fault in doctor.version_faults(facts)}


def _failing(facts: DoctorFacts) -> dict[str, str]:
    """Packages of exercises that fail although versions and files are right."""
    failed = (result for result in doctor.judge(facts) if _has_failed(result))
    return {name: _as_installed(facts, name) for result in failed for name in result.row.reinstall
            if name in facts.lock.packages}  # fmt: skip


def _has_failed(result: CheckResult) -> bool:
    return result.row.exercise and result.status in {CheckStatus.MISSING, CheckStatus.BROKEN}


def _as_installed(facts: DoctorFacts, name: str) -> str:
    version = facts.lock.packages.get(name)
    return f"{name}=={version}" if version else name


def _mend_packages(home: Home, facts: DoctorFacts, wanted: dict[str, str], report: Report) -> int:
    """Install packages again. Returns how much was tried."""
    if facts.lock.torch_build is TorchBuild.EXISTING:  # the other Python's are not ours
        wanted = {name: requirement for name, requirement in wanted.items() if name not in beside.TORCH_FAMILY}
    if not wanted:
        return 0
    there = facts.answer.packages if facts.answer else {}
    kept = [requirement for name, requirement in wanted.items() if name in there]
    absent = [requirement for name, requirement in wanted.items() if name not in there]
    return sum(
        _tries(report, f"installing {', '.join(some)}", partial(_install, home, facts, some, report, anew=anew))
        for some, anew in ((absent, False), (kept, True))
        if some
    )


def _install(home: Home, facts: DoctorFacts, requirements: Sequence[str], report: Report, *, anew: bool) -> None:
    wheels = facts.lock.request.wheels
    folder = wheel_folder.require(Path(wheels)) if wheels else None
    with files.open_new(home.setup_log) as log:
        tools = Installer(log, home.setup_log, report)
        installer.reinstall(facts.parts.python, requirements, facts.plan.backend, folder, anew, tools)
