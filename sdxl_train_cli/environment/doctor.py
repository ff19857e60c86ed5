"""Judge what the doctor found: a result for each check, with what to type where it failed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.environment import doctor_table, package_faults
from sdxl_train_cli.environment.doctor_answer import AlteredFile, Answer, FileFaultKind
from sdxl_train_cli.environment.doctor_facts import DoctorFacts
from sdxl_train_cli.environment.doctor_table import CheckRow, Weight
from sdxl_train_cli.environment.package_faults import PackageFault, VersionFault
from sdxl_train_cli.environment.toolchain import TorchBuild


class CheckStatus(str, Enum):
    """How a check went."""

    OK = "ok"
    SLOW = "slow"
    CHANGED = "changed"
    MISSING = "missing"
    BROKEN = "broken"
    LEFT_OUT = "left out"


@dataclass(frozen=True)
class CheckResult:
    """One line of what is told."""

    row: CheckRow
    status: CheckStatus
    found: str = ""
    hint: str | None = None
    subject: str | None = None
    """The package or file at fault."""
    is_mild: bool = False
    """Whether a run mends it by itself."""
    seconds: float | None = None
    """What an exercise took."""

    @property
    def is_error(self) -> bool:
        """Whether a run would fail."""
        failed = self.status in {CheckStatus.MISSING, CheckStatus.BROKEN}
        return failed and self.row.weight is Weight.ERROR and not self.is_mild

    @property
    def is_fault(self) -> bool:
        """Whether there is anything to tell but that all is well."""
        return self.status not in {CheckStatus.OK, CheckStatus.LEFT_OUT}


def judge(facts: DoctorFacts) -> tuple[CheckResult, ...]:
    """Every check's results, in the order of the table."""
    return tuple(
        result
        for row in doctor_table.checks()
        for result in (_exercise if row.exercise else _JUDGES[row.name])(row, facts)
    )


def version_faults(facts: DoctorFacts) -> list[PackageFault]:
    """Packages that are missing or have another version."""
    if facts.answer is None:
        return []
    answer = facts.answer
    return package_faults.find(answer.packages, facts.plan.requirements, facts.lock.packages, answer.python)


def _exercise(row: CheckRow, facts: DoctorFacts) -> Iterator[CheckResult]:
    if facts.answer is None:
        yield CheckResult(row, CheckStatus.LEFT_OUT, _why_silent(facts))
        return
    if row.only_with and row.only_with not in facts.answer.packages:
        return
    broken, went = _broken_before(row, facts.answer), facts.answer.exercises.get(row.name)
    if broken or went is None:
        yield CheckResult(row, CheckStatus.LEFT_OUT, f"{broken or 'torch'} does not work")
    elif went.left_out:
        yield CheckResult(row, CheckStatus.LEFT_OUT, went.left_out)
    elif went.error:
        status = CheckStatus.MISSING if went.error.startswith(_ABSENT) else CheckStatus.BROKEN
        words = went.error.replace(f"{facts.parts.folder}{os.sep}", "").removeprefix("FileNotFoundError: ")
        yield CheckResult(row, status, words, row.hint, seconds=went.seconds)
    elif went.slow or (row.slow_seconds and went.seconds > row.slow_seconds):
        words = went.slow or f"{went.seconds:.0f} s"
        yield CheckResult(row, CheckStatus.SLOW, words, row.slow_hint, seconds=went.seconds)
    else:
        yield CheckResult(row, CheckStatus.OK, f"{went.seconds:.1f} s", seconds=went.seconds)


def _broken_before(row: CheckRow, answer: Answer) -> str | None:
    """The first exercise that failed of those that this one builds on."""
    rows = {one.name: one for one in doctor_table.checks()}
    for name in row.after:
        went = answer.exercises.get(name)
        found = _broken_before(rows[name], answer) or (name if went and went.error else None)
        if found:
            return found
    return None


_ABSENT = ("ModuleNotFoundError", "FileNotFoundError")


def _why_silent(facts: DoctorFacts) -> str:
    return "the environment's Python does not work" if facts.lock.trains else facts.silence


def _record(row: CheckRow, facts: DoctorFacts) -> Iterator[CheckResult]:
    if facts.has_options:
        yield CheckResult(row, CheckStatus.OK, f"sd-scripts {facts.lock.ref} ({facts.lock.commit[:10]})")
    else:
        yield CheckResult(row, CheckStatus.BROKEN, f"{facts.parts.options} can't be read", row.hint)


def _checkout(row: CheckRow, facts: DoctorFacts) -> Iterator[CheckResult]:
    if facts.checkout.unknown:
        yield CheckResult(row, CheckStatus.LEFT_OUT, facts.checkout.unknown)
    elif not facts.checkout.faults:
        yield CheckResult(row, CheckStatus.OK)
    else:
        yield from (_file(row, None, fault) for fault in facts.checkout.faults[:_MOST_LINES])


def _file(row: CheckRow, package: str | None, fault: AlteredFile) -> CheckResult:
    status = {FileFaultKind.MISSING: CheckStatus.MISSING, FileFaultKind.CHANGED: CheckStatus.CHANGED}
    hint = row.changed_hint if fault.fault is FileFaultKind.CHANGED else row.hint
    of = f"{package}: " if package else ""
    found = f"{of}{fault.file} {_FILE_WORDS[fault.fault]}"
    return CheckResult(row, status.get(fault.fault, CheckStatus.BROKEN), found, hint, package or fault.file)


_FILE_WORDS = {
    FileFaultKind.MISSING: "is missing",
    FileFaultKind.EMPTY: "is empty",
    FileFaultKind.ZEROS: "holds only zeros",
    FileFaultKind.BROKEN: "is broken",
    FileFaultKind.CHANGED: "has been changed",
}
_MOST_LINES = 10


def _python(row: CheckRow, facts: DoctorFacts) -> Iterator[CheckResult]:
    if facts.answer is not None:
        yield CheckResult(row, CheckStatus.OK, facts.answer.python)
    elif facts.lock.trains or not facts.has_python:
        yield CheckResult(row, CheckStatus.BROKEN, facts.silence, row.hint)
    else:
        yield CheckResult(row, CheckStatus.LEFT_OUT, facts.silence)


def _packages(row: CheckRow, facts: DoctorFacts) -> Iterator[CheckResult]:
    if facts.answer is None:
        yield CheckResult(row, CheckStatus.LEFT_OUT, _why_silent(facts))
        return
    found = version_faults(facts)
    if not found:
        yield CheckResult(row, CheckStatus.OK, f"{len(facts.answer.packages)} packages")
    for fault in found[:_MOST_LINES]:
        status = {VersionFault.MISSING: CheckStatus.MISSING, VersionFault.CHANGED: CheckStatus.CHANGED}
        hint = row.changed_hint if fault.fault is VersionFault.CHANGED else row.hint
        words = f"{fault.package} {fault.version or 'is not there'}; {fault.who_asks} {fault.asked}"
        yield CheckResult(row, status.get(fault.fault, CheckStatus.BROKEN), words, hint, fault.package)


def _files(row: CheckRow, facts: DoctorFacts) -> Iterator[CheckResult]:
    if facts.answer is None:
        yield CheckResult(row, CheckStatus.LEFT_OUT, _why_silent(facts))
        return
    if not facts.answer.files:
        yield CheckResult(row, CheckStatus.OK)
    for package, faults in list(facts.answer.files.items())[:_MOST_LINES]:
        worst = min(faults, key=lambda fault: fault.fault is FileFaultKind.CHANGED)
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        told = _file(row, package, worst)
        yield CheckResult(row, told.status, told.found + more, told.hint, package)


def _tokenizers(row: CheckRow, facts: DoctorFacts) -> Iterator[CheckResult]:
    if not facts.tokenizers:
        yield CheckResult(row, CheckStatus.OK)
    for folder, faults in _by_folder(facts.tokenizers).items():
        if not files.is_folder(Path(folder)):  # sd-scripts fetches what has no folder
            yield CheckResult(row, CheckStatus.MISSING, f"{folder} is missing", row.hint, folder, is_mild=True)
            continue
        yield from (_file(row, None, fault) for fault in faults)


def _by_folder(faults: Sequence[AlteredFile]) -> Mapping[str, list[AlteredFile]]:
    found: dict[str, list[AlteredFile]] = {}
    for fault in faults:
        found.setdefault(str(Path(fault.file).parent), []).append(fault)
    return found


def _driver(row: CheckRow, facts: DoctorFacts) -> Iterator[CheckResult]:
    gpus, torch = facts.machine.gpus, facts.answer.torch if facts.answer else None
    if not gpus or torch is None:
        yield CheckResult(row, CheckStatus.LEFT_OUT, "torch does not work" if gpus else "no GPU")
        return
    about = f"{gpus[0].name}, driver {gpus[0].driver}, torch {torch.version}"
    if torch.cuda is None:
        is_wanted = facts.lock.request.torch is TorchBuild.CPU
        status = CheckStatus.LEFT_OUT if is_wanted else CheckStatus.BROKEN
        yield CheckResult(row, status, f"{about}: a build for the processor", None if is_wanted else row.build_hint)
        return
    least = _least_driver(torch.cuda, facts.machine.system)
    lacking = [device.name for device in torch.devices if not device.arch_supported]
    if least and _numbers(gpus[0].driver) < _numbers(least):
        yield CheckResult(row, CheckStatus.BROKEN, f"{about}: CUDA {torch.cuda} needs driver {least}", row.hint)
    elif not torch.cuda_available:
        yield CheckResult(row, CheckStatus.BROKEN, f"{about}: torch sees no GPU", row.hint)
    elif lacking:
        yield CheckResult(row, CheckStatus.BROKEN, f"{about}: no code for {', '.join(lacking)}", row.build_hint)
    else:
        yield CheckResult(row, CheckStatus.OK, about)


def _least_driver(cuda: str, system: str) -> str | None:
    row = next((one for one in doctor_table.drivers() if one.cuda == _numbers(cuda)[0]), None)
    return None if row is None else row.windows if system == "win32" else row.linux


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", version)) or (0,)


def _space(amount: Callable[[DoctorFacts], float | None]) -> _Judge:
    """A judge of what must be at least so many GiB."""

    def judged(row: CheckRow, facts: DoctorFacts) -> Iterator[CheckResult]:
        gib = amount(facts)
        if gib is None:
            yield CheckResult(row, CheckStatus.LEFT_OUT, "the system does not tell")
        elif gib < row.least_gib:
            yield CheckResult(row, CheckStatus.MISSING, f"{gib:.1f} GB, less than {row.least_gib:g}", row.hint)
        else:
            yield CheckResult(row, CheckStatus.OK, f"{gib:.1f} GB")

    return judged


def _long_paths(row: CheckRow, facts: DoctorFacts) -> Iterator[CheckResult]:
    if facts.machine.long_paths is None:
        yield CheckResult(row, CheckStatus.LEFT_OUT, "Windows alone limits them")
    elif facts.machine.long_paths:
        yield CheckResult(row, CheckStatus.OK)
    else:
        yield CheckResult(row, CheckStatus.MISSING, "Windows refuses them", row.hint)


_Judge = Callable[[CheckRow, DoctorFacts], Iterator[CheckResult]]
_JUDGES: Mapping[str, _Judge] = {
    "record": _record,
    "checkout": _checkout,
    "python": _python,
    "packages": _packages,
    "files": _files,
    "tokenizers": _tokenizers,
    "driver": _driver,
    "memory": _space(lambda facts: facts.machine.free_memory_gib),
    "swap": _space(lambda facts: facts.machine.memory_gib + facts.machine.swap_gib),
    "home_disk": _space(lambda facts: facts.machine.home_free_gib),
    "output_disk": _space(lambda facts: facts.machine.output_free_gib),
    "long_paths": _long_paths,
}
