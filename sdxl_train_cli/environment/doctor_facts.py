"""Gather all that the doctor judges: the environment's own answer, its checkout, the tokenizers and the computer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.environment import (
    beside,
    checkout_files,
    doctor_answer,
    doctor_table,
    environment,
    hub,
    machine,
    toolchain,
)
from sdxl_train_cli.environment.checkout_files import CheckoutState
from sdxl_train_cli.environment.doctor_answer import AlteredFile, Answer, FileFaultKind
from sdxl_train_cli.environment.environment import EnvironmentFiles, EnvironmentLock
from sdxl_train_cli.environment.machine import Machine
from sdxl_train_cli.environment.toolchain import InstallPlan, TorchBuild
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.sdscripts.options import OptionTable


@dataclass(frozen=True)
class DoctorFacts:
    """What was found."""

    parts: EnvironmentFiles
    lock: EnvironmentLock
    has_options: bool
    has_python: bool
    checkout: CheckoutState
    answer: Answer | None
    """None if the environment's Python does not start."""
    silence: str
    """Why there is no answer."""
    plan: InstallPlan
    tokenizers: tuple[AlteredFile, ...]
    """Files of the two that are not as they should be."""
    machine: Machine


def gather(home: Home, output: Path) -> DoctorFacts:
    """Look at the current environment, whole or not. SetupError if there is none, or if its record is lost."""
    folder = environment.current_folder(home)
    lock = None if folder is None else environment.lock(folder)
    if folder is None or lock is None:
        found = environment.require(home)  # says what is wrong
        folder, lock = found.folder, found.lock
    parts = EnvironmentFiles(folder)
    answer, silence = _ask(parts) if lock.trains else (None, "this sd-scripts brings its own accelerate and no torch")
    return DoctorFacts(
        parts=parts,
        lock=lock,
        has_options=_has_options(parts),
        has_python=files.is_file(parts.python),
        checkout=checkout_files.compare(parts.checkout, lock),
        answer=answer,
        silence=silence,
        plan=_plan(parts, lock, answer),
        tokenizers=_tokenizer_faults(home),
        machine=machine.look(home.path, output),
    )


def _ask(parts: EnvironmentFiles) -> tuple[Answer | None, str]:
    try:
        return doctor_answer.ask(parts, [row.name for row in doctor_table.checks() if row.exercise]), ""
    except SetupError as error:
        return None, str(error)


def _has_options(parts: EnvironmentFiles) -> bool:
    try:
        OptionTable.load(parts.options)
    except (OSError, ValueError):
        return False
    return True


def _plan(parts: EnvironmentFiles, lock: EnvironmentLock, answer: Answer | None) -> InstallPlan:
    """What setup would install for this environment."""
    try:
        requirements = files.read_text(parts.checkout / "requirements.txt")
    except (OSError, ValueError):
        requirements = ""  # told with the checkout
    row = next((one for one in toolchain.load() if one.name == lock.toolchain), None)
    if row is not None and lock.torch_build is TorchBuild.EXISTING:
        packages = {name: facts.version for name, facts in answer.packages.items()} if answer else {}
        return beside.plan(row, requirements, lock.request.extras, packages)
    return toolchain.plan(row, requirements, lock.torch_build, lock.request.extras, ())


def _tokenizer_faults(home: Home) -> tuple[AlteredFile, ...]:
    paths = (home.tokenizers / name / file for name in hub.TOKENIZERS for file in hub.TOKENIZER_FILES)
    judged = ((path, tokenizer_fault(path)) for path in paths)
    return tuple(AlteredFile(file=str(path), fault=fault) for path, fault in judged if fault)


def tokenizer_fault(path: Path) -> FileFaultKind | None:
    """What is wrong with a file of a tokenizer."""
    try:
        text = files.read_text(path)
        if not text.strip("\0 \n"):
            return FileFaultKind.ZEROS if "\0" in text else FileFaultKind.EMPTY
        if path.suffix == ".json":
            json.loads(text)
    except OSError:
        return FileFaultKind.MISSING
    except ValueError:
        return FileFaultKind.BROKEN
    return None
