"""What the doctor makes of what it found: each fault is named, with its weight and a hint."""

from __future__ import annotations

import re
import runpy
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from sdxl_train_cli.environment import beside, doctor, doctor_table, toolchain
from sdxl_train_cli.environment.checkout_files import CheckoutState
from sdxl_train_cli.environment.doctor import CheckResult, CheckStatus
from sdxl_train_cli.environment.doctor_answer import (
    AlteredFile,
    Answer,
    Exercise,
    FileFaultKind,
    PackageFacts,
    TorchDevice,
    TorchFacts,
)
from sdxl_train_cli.environment.doctor_facts import DoctorFacts
from sdxl_train_cli.environment.environment import EnvironmentFiles, EnvironmentLock, SetupRequest
from sdxl_train_cli.environment.machine import Machine
from sdxl_train_cli.environment.toolchain import InstallPlan, TorchBuild
from sdxl_train_cli.gpu import Gpu

INSIDE = Path(doctor.__file__).parents[1] / "inside"
EXERCISES = [row.name for row in doctor_table.checks() if row.exercise]
CARD = Gpu(0, "a card", 24.0, 20.0, (8, 6), "550.54.14")
PINS = ("numpy<3", "torch==2.6.0", "imagesize==1.4.1", "bitsandbytes==0.50.2")
VERSIONS = {"numpy": "2.4.6", "torch": "2.6.0+cu124", "imagesize": "1.4.1", "bitsandbytes": "0.50.2", "triton": "3.2.0"}
TORCH = TorchFacts(version="2.6.0+cu124", cuda="12.4", cuda_available=True, devices=())
WELL = Machine("linux", (), 20.0, 32.0, 8.0, 100.0, 100.0, None)


def answer(
    packages: Mapping[str, str] = VERSIONS, requires: Mapping[str, tuple[str, ...]] | None = None, **changes: object
) -> Answer:
    """An environment in which all is well, but for the changes."""
    asked = {
        "torch": ("triton==3.2.0; platform_system != 'Plan 9'", "numpy>=1.26; extra == 'tests'"),
        **(requires or {}),
    }
    facts = {name: PackageFacts(version=version, requires=asked.get(name, ())) for name, version in packages.items()}
    exercises = {name: Exercise(seconds=0.5) for name in EXERCISES}
    return Answer(**{"python": "3.11.7", "torch": TORCH, "packages": facts, "exercises": exercises, **changes})


def facts(answered: Answer | None, **changes: object) -> DoctorFacts:
    lock = EnvironmentLock(
        request=SetupRequest(),
        ref="v0.10.1",
        commit="ae72efb92babe89ff8e70f057e42db68440e8d61",
        toolchain="sd-scripts v0.10",
        torch_build=TorchBuild.CU124,
        python="3.11.7",
        packages=VERSIONS,
        created=datetime.now(timezone.utc),
    )
    plan = InstallPlan(toolchain.load()[0], TorchBuild.CU124, PINS, "cu124")
    found = DoctorFacts(
        parts=EnvironmentFiles(Path("/home/me/env")), lock=lock, has_options=True, has_python=True,
        checkout=CheckoutState(), answer=answered, silence="", plan=plan, tokenizers=(), machine=WELL,
    )  # fmt: skip
    return replace(found, **changes)


def faults(found: DoctorFacts) -> list[CheckResult]:
    return [result for result in doctor.judge(found) if result.is_fault]


def one_fault(found: DoctorFacts) -> CheckResult:
    (result,) = faults(found)
    return result


def failing(**errors: str) -> Answer:
    whole = {name: Exercise(seconds=0.5) for name in EXERCISES}
    return answer(exercises=whole | {name: Exercise(seconds=0.1, error=error) for name, error in errors.items()})


def test_all_is_well_where_nothing_is_wrong() -> None:
    results = doctor.judge(facts(answer()))

    assert {result.status for result in results} == {CheckStatus.OK, CheckStatus.LEFT_OUT}
    assert {result.row.name for result in results if result.status is CheckStatus.LEFT_OUT} == {"driver", "long_paths"}


def test_every_exercise_of_the_table_is_one_of_the_script_and_every_other_row_has_its_judge() -> None:
    known = runpy.run_path(str(INSIDE / "doctor.py"))

    assert set(EXERCISES) == set(known["EXERCISES"])
    assert len({row.name for row in doctor_table.checks()}) == len(doctor_table.checks())


@pytest.mark.parametrize(
    ("packages", "status", "is_error", "words"),
    [
        ({"numpy": "3.0.1"}, CheckStatus.BROKEN, True, "numpy 3.0.1; the pins ask for numpy<3"),
        ({"numpy": "1.26.4"}, CheckStatus.CHANGED, False, "numpy 1.26.4; setup installed numpy==2.4.6"),
        ({"torch": "2.9.0"}, CheckStatus.BROKEN, True, "torch 2.9.0; the pins ask for torch==2.6.0"),
        ({"triton": "3.5"}, CheckStatus.BROKEN, True, "triton 3.5; torch asks for triton==3.2.0"),
        ({"imagesize": ""}, CheckStatus.MISSING, True, "imagesize is not there; the pins ask for imagesize==1.4.1"),
        ({"triton": ""}, CheckStatus.MISSING, True, "triton is not there; torch asks for triton==3.2.0"),
    ],
)
def test_a_wrong_version_and_an_absent_package_are_named(
    packages: dict[str, str], status: CheckStatus, is_error: bool, words: str
) -> None:
    there = {name: version for name, version in (VERSIONS | packages).items() if version}
    result = one_fault(facts(answer(there)))

    assert (result.row.name, result.status, result.is_error, result.found) == ("packages", status, is_error, words)
    assert "sdxl-train doctor --fix" in str(result.hint)


def test_a_package_of_the_persons_own_and_what_only_it_asks_for_are_none_of_ours() -> None:
    own = answer(VERSIONS | {"own": "1"}, requires={"own": ("absent>=2", "numpy<2")})

    assert [fault.package for fault in doctor.version_faults(facts(own))] == []


def test_a_version_that_setup_noted_of_another_packages_copy_is_no_fault() -> None:
    copies = dict(answer().packages) | {"numpy": PackageFacts(version="2.5.0", hidden=("2.4.6",))}

    assert faults(facts(answer(packages={}).model_copy(update={"packages": copies}))) == []


def test_what_is_mended_is_what_setup_installed_unless_the_pins_have_changed() -> None:
    (wrong,) = doctor.version_faults(facts(answer(VERSIONS | {"numpy": "3.0.1"})))
    newer = InstallPlan(toolchain.load()[0], TorchBuild.CU124, ("numpy==2.5.1",), None)
    (repinned,) = doctor.version_faults(facts(answer(), plan=newer))

    assert (wrong.wanted, repinned.wanted) == ("numpy==2.4.6", "numpy==2.5.1")


@pytest.mark.parametrize(
    ("fault", "status", "is_error"),
    [
        (FileFaultKind.MISSING, CheckStatus.MISSING, True),
        (FileFaultKind.EMPTY, CheckStatus.BROKEN, True),
        (FileFaultKind.ZEROS, CheckStatus.BROKEN, True),
        (FileFaultKind.BROKEN, CheckStatus.BROKEN, True),
        (FileFaultKind.CHANGED, CheckStatus.CHANGED, False),
    ],
)
def test_a_file_that_is_not_as_installed_is_named(fault: FileFaultKind, status: CheckStatus, is_error: bool) -> None:
    altered = AlteredFile(file="library/train_util.py", fault=fault)
    of_package = one_fault(facts(answer(files={"diffusers": (altered,)})))
    of_checkout = one_fault(facts(answer(), checkout=CheckoutState((altered,))))

    assert (of_package.row.name, of_checkout.row.name) == ("files", "checkout")
    for result in (of_package, of_checkout):
        assert (result.status, result.is_error) == (status, is_error)
        assert "library/train_util.py" in result.found
    assert ("--fix" in str(of_checkout.hint)) is is_error


def test_an_exercise_that_fails_is_named_and_those_that_need_torch_are_left_out_without_it() -> None:
    dead = {"torch": Exercise(seconds=1, error="ended by SIGSEGV"), "compiler": Exercise(seconds=1)}
    results = {result.row.name: result for result in doctor.judge(facts(answer(torch=None, exercises=dead)))}

    assert (results["torch"].status, results["torch"].found) == (CheckStatus.BROKEN, "ended by SIGSEGV")
    assert (results["eight_bit"].status, results["eight_bit"].found) == (CheckStatus.LEFT_OUT, "torch does not work")
    assert results["compiler"].status is CheckStatus.OK


def test_what_only_follows_from_another_failure_is_left_out() -> None:
    broken = "ImportError: cannot import name 'x' from 'accelerate.utils' (/home/me/env/venv/lib/x.py)"
    followers = dict.fromkeys(("accelerate", "transformers", "diffusers", "trainer", "vae_bf16"), broken)
    found = facts(failing(**followers))
    left_out = [result.row.name for result in doctor.judge(found) if result.found == "accelerate does not work"]

    assert one_fault(found).found.endswith(f"({Path('venv/lib/x.py')})".replace("\\", "/"))
    assert left_out == ["transformers", "diffusers", "trainer", "vae_fp16", "vae_bf16"]


@pytest.mark.parametrize(
    ("name", "error", "status", "is_error"),
    [
        ("eight_bit", "OSError: libbitsandbytes_cpu.so: cannot open", CheckStatus.BROKEN, True),
        ("compiler", "FileNotFoundError: no C compiler", CheckStatus.MISSING, False),
        ("compiler", "RuntimeError: fatal error: Python.h: No such file or directory", CheckStatus.BROKEN, False),
        ("trainer", "ModuleNotFoundError: No module named 'imagesize'", CheckStatus.MISSING, True),
        ("fp8", "RuntimeError: not implemented for 'Float8_e4m3fn'", CheckStatus.BROKEN, False),
    ],
)
def test_what_few_runs_need_is_only_a_warning(name: str, error: str, status: CheckStatus, is_error: bool) -> None:
    result = one_fault(facts(failing(**{name: error})))

    assert (result.row.name, result.status, result.is_error) == (name, status, is_error)
    assert result.found == error.removeprefix("FileNotFoundError: ")
    assert result.hint


def test_slow_is_said_by_the_exercise_or_by_its_time() -> None:
    exercises = {name: Exercise(seconds=0.5) for name in EXERCISES}
    exercises |= {
        "torch": Exercise(seconds=90.0),
        "sdpa_fp16": Exercise(seconds=0.1, slow="only the plain kernel works"),
    }
    found = faults(facts(answer(exercises=exercises)))

    assert [(result.row.name, result.status, result.is_error) for result in found] == [
        ("torch", CheckStatus.SLOW, False),
        ("sdpa_fp16", CheckStatus.SLOW, False),
    ]
    assert all(result.hint for result in found)


@pytest.mark.parametrize(
    ("driver", "torch", "words"),
    [
        ("470.223.02", TORCH, "CUDA 12.4 needs driver 525.60.13"),
        ("550.54.14", TORCH.model_copy(update={"cuda_available": False}), "torch sees no GPU"),
        ("550.54.14", TORCH.model_copy(update={"version": "2.6.0+cpu", "cuda": None}), "a build for the processor"),
        (
            "570.1",
            TORCH.model_copy(update={"devices": (TorchDevice(name="RTX 5090", arch_supported=False),)}),
            "no code for RTX 5090",
        ),
    ],
)
def test_a_driver_or_a_build_that_does_not_fit_the_gpu_is_named(driver: str, torch: TorchFacts, words: str) -> None:
    machine = replace(WELL, gpus=(replace(CARD, driver=driver),))
    result = one_fault(facts(answer(torch=torch), machine=machine))

    assert (result.row.name, result.is_error) == ("driver", True)
    assert words in result.found
    assert result.hint


def test_windows_needs_another_driver_than_linux() -> None:
    machine = replace(WELL, system="win32", gpus=(replace(CARD, driver="527.10"),), long_paths=False)

    assert [(result.row.name, result.is_error) for result in faults(facts(answer(), machine=machine))] == [
        ("driver", True),
        ("long_paths", False),
    ]


@pytest.mark.parametrize(
    ("change", "name", "is_error"),
    [
        ({"output_free_gib": 0.2}, "output_disk", True),
        ({"home_free_gib": 0.0}, "home_disk", True),
        ({"free_memory_gib": 3.0}, "memory", False),
        ({"memory_gib": 8.0, "swap_gib": 2.0}, "swap", False),
    ],
)
def test_a_full_disk_and_little_memory_are_named_with_the_figure(
    change: dict[str, float], name: str, is_error: bool
) -> None:
    result = one_fault(facts(answer(), machine=replace(WELL, **change)))

    assert (result.row.name, result.status, result.is_error) == (name, CheckStatus.MISSING, is_error)
    assert re.match(r"\d+\.\d GB, less than \d+", result.found)


def test_a_tokenizer_that_is_absent_is_a_warning_and_a_broken_one_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    absent = AlteredFile(file=str(tmp_path / "absent" / "vocab.json"), fault=FileFaultKind.MISSING)
    broken = AlteredFile(file=str(tmp_path / "broken" / "vocab.json"), fault=FileFaultKind.EMPTY)
    found = faults(facts(answer(), tokenizers=(absent, broken)))

    assert [(result.status, result.is_error) for result in found] == [
        (CheckStatus.MISSING, False),
        (CheckStatus.BROKEN, True),
    ]


def test_a_python_that_does_not_start_leaves_out_what_it_would_have_said() -> None:
    results = doctor.judge(facts(None, silence="no such file"))

    assert [result.row.name for result in results if result.is_error] == ["python"]
    assert {result.found for result in results if result.row.exercise} == {"the environment's Python does not work"}


def test_beside_another_torch_its_versions_are_right() -> None:
    row = toolchain.load()[0]
    plan = beside.plan(row, "safetensors==0.4.5\n", (), {"torch": "2.9.1", "safetensors": "0.8.0"})
    there = {
        "torch": "2.9.1",
        "torchvision": "0.24.1",
        "safetensors": "0.8.0",
        "bitsandbytes": "0.50.2",
        "numpy": "2.4.6",
    }
    found = facts(answer(there, requires={"torch": ()}), plan=plan)
    lock = found.lock.model_copy(update={"packages": there})

    assert doctor.version_faults(replace(found, lock=lock)) == []
