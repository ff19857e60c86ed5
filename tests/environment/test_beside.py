"""An environment beside a torch that is there already, and one that is made without a network."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import sys
import venv
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import bundled_pip
import pytest

from sdxl_train_cli import gpu, process
from sdxl_train_cli.environment import (
    beside,
    building,
    environment,
    existing_torch,
    gathering,
    hub,
    installer,
    installing,
    toolchain,
    wheel_folder,
)
from sdxl_train_cli.environment.environment import EnvironmentFiles, SetupRequest
from sdxl_train_cli.environment.installer import Installer
from sdxl_train_cli.environment.toolchain import Extra, InstallPlan, TorchBuild
from sdxl_train_cli.environment.wheel_folder import System, Target, WheelFolder
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.sdscripts import shipped

ROW = toolchain.load()[0]
PINNED = "accelerate==1.6.0\ntransformers==4.54.1\nopencv-python==4.10.0.84\nsafetensors==0.4.5\nrich==14.1.0\n-e .\n"
PROGRAM = "Scripts/python.exe" if process.WINDOWS else "bin/python"
NOW = f"{sys.version_info[0]}.{sys.version_info[1]}.{sys.version_info[2]}"


def put_package(python: Path, name: str, version: str) -> Path:
    """Put a package of one line into a venv. Returns its metadata."""
    (folder,) = [*python.parents[1].glob("lib/python*/site-packages"), *python.parents[1].glob("Lib/site-packages")]
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(f"version = {version!r}\n", encoding="utf-8")
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir()
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (metadata / "METADATA").write_text(text, encoding="utf-8")
    (metadata / "INSTALLER").write_text("by hand\n", encoding="utf-8")
    return metadata


def put_wheel(folder: Path, name: str, version: str, needs: tuple[str, ...] = (), tag: str = "py3-none-any") -> Path:
    """A real wheel of one module."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    required = "".join(f"Requires-Dist: {one}\n" for one in needs)
    content = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{required}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    rows = [f"{path},sha256={digest(text)},{len(text)}\n" for path, text in content.items()]
    content[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"])
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return wheel


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def put_pip(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(bundled_pip.wheel(), folder)


def all_files(folder: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another Python, itself a venv, with a torch and packages that are newer than sd-scripts' pins."""
    venv.create(tmp_path / "other", with_pip=False)
    python = tmp_path / "other" / PROGRAM
    for name, version in (("torch", "2.11.0+cu130"), ("torchvision", "0.26.0"), ("transformers", "5.17.0")):
        put_package(python, name, version)
    return python


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Installer]:
    with (tmp_path / "setup.log").open("wb") as log:
        yield Installer(log, tmp_path / "setup.log", lambda _line: None)


def test_the_python_that_is_named_is_asked_for_its_torch(other: Path) -> None:
    found = existing_torch.find(str(other))

    assert found.torch.python == str(other)
    assert found.torch.version == "2.11.0+cu130"
    assert found.packages["transformers"] == "5.17.0"
    assert found.version == NOW
    assert [Path(path).name for path in found.torch.paths] == ["site-packages"]


def test_without_a_name_the_active_environments_torch_is_found(other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", str(other.parents[1]))

    assert existing_torch.find(None).torch.python == str(other)


def test_a_torch_that_is_imported_by_pythonpath_is_found(other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the modules of a cluster do it."""
    (folder,) = existing_torch.find(str(other)).torch.paths
    monkeypatch.setenv("PYTHONPATH", folder)

    assert folder in existing_torch.find(sys.executable).torch.paths


def test_a_python_without_torch_is_refused_and_so_is_none_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    venv.create(tmp_path / "bare", with_pip=False)

    with pytest.raises(SetupError, match=f"is Python {NOW} and has no torch"):
        existing_torch.find(str(tmp_path / "bare" / PROGRAM))
    with pytest.raises(SetupError, match="can't be run"):
        existing_torch.find(str(tmp_path / "nowhere"))
    with pytest.raises(SetupError, match="no torch was found; looked at") as raised:
        existing_torch.find(None)
    assert "--python /path/to/python" in str(raised.value.problems[0].hint)


def test_a_torch_that_changed_or_went_is_told_by_its_new_version(other: Path) -> None:
    torch = existing_torch.find(str(other)).torch
    existing_torch.require_unchanged(torch)
    newer = Path(torch.metadata).with_name("torch-2.12.0.dist-info")

    Path(torch.metadata).rename(newer)
    with pytest.raises(SetupError, match=r"torch 2\.11\.0\+cu130 of .* is now 2\.12\.0"):
        existing_torch.require_unchanged(torch)
    shutil.rmtree(newer)
    with pytest.raises(SetupError, match="which is gone") as raised:
        existing_torch.require_unchanged(torch)
    assert "`sdxl-train setup`" in str(raised.value.problems[0].hint)


def test_what_clashes_is_installed_and_what_serves_is_left_to_the_other_python() -> None:
    there = {"torch": "2.11.0+cu130", "transformers": "5.17.0", "opencv-python-headless": "5.0.0.93",
             "safetensors": "0.8.0", "rich": "13.0.0"}  # fmt: skip

    plan = beside.plan(ROW, PINNED, [Extra.XFORMERS], there)

    assert plan.build is TorchBuild.EXISTING
    assert plan.requirements == ("torch", "torchvision", "accelerate==1.6.0", "transformers==4.54.1", "rich==14.1.0",
                                 "bitsandbytes==0.50.2", "numpy<3", "xformers")  # fmt: skip
    assert plan.constraints == ("torch==2.11.0+cu130",)


def test_a_torch_and_a_python_that_sd_scripts_was_not_pinned_to_are_told(other: Path) -> None:
    found = existing_torch.find(str(other))
    told = list[str]()

    beside.report(ROW, found, told.append)

    assert told[0] == f"using torch 2.11.0+cu130 of {other}; nothing is written there"
    assert told[1] == (
        "torch 2.11.0+cu130 is not the 2.6.0 that sd-scripts v0.10 is pinned to: "
        "`sdxl-train smoke` shows whether it trains"
    )
    assert not list(beside.unpinned(ROW.model_copy(update={"torch": "2.11.0", "python_range": ">=3"}), found))


def test_the_venv_takes_its_own_package_first_and_torch_from_the_other_python_where_it_writes_nothing(
    other: Path, tmp_path: Path, tools: Installer
) -> None:
    put_pip(tmp_path / "wheels")
    put_wheel(tmp_path / "wheels", "transformers", "4.54.1", ("torch>=2",))
    found, parts, before = existing_torch.find(str(other)), EnvironmentFiles(tmp_path), all_files(other.parents[1])
    plan = InstallPlan(ROW, TorchBuild.EXISTING, ("torch", "transformers==4.54.1"), None, ("torch==2.11.0+cu130",))

    installer.make_venv_beside(parts.venv, found, tools)
    beside.link(parts.venv, found, parts.compiled)
    installer.install_beside(parts.python, plan, found, WheelFolder(tmp_path / "wheels"), tools)
    code = "import torch, torchvision, transformers; print(torch.version, torchvision.version, transformers.version)"
    said = process.run([str(parts.python), "-c", code], env=environment.training_variables())

    assert said.stdout.split() == ["2.11.0+cu130", "0.26.0", "4.54.1"]
    assert all_files(other.parents[1]) == before
    assert list(parts.compiled.rglob("torch/__init__*.pyc"))


REQUIRED = {"transformers": "4.54.1", "bitsandbytes": "0.50.2", "numpy": "2.4.0"}


@pytest.fixture
def carried(tmp_path: Path) -> WheelFolder:
    """All that the pretended release needs, as tiny wheels."""
    put_pip(tmp_path / "carried")
    for name, version in REQUIRED.items():
        put_wheel(tmp_path / "carried", name, version)
    for name in hub.TOKENIZERS:
        (tmp_path / "carried" / "tokenizers" / name).mkdir(parents=True)
        (tmp_path / "carried" / "tokenizers" / name / "vocab.json").write_text("{}", encoding="utf-8")
    return WheelFolder(tmp_path / "carried")


@pytest.fixture
def _proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny packages can't do what the real ones are asked to prove."""
    real = environment.run_script
    facts = {"python": NOW, "packages": {"torch": "2.11.0"}}
    monkeypatch.setattr(gpu, "devices", lambda: ())
    monkeypatch.setattr(building, "read_options", lambda _parts: shipped.table())

    def answer(place: EnvironmentFiles, script: str, *words: str) -> Mapping[str, object]:
        return facts if script == "probe.py" else real(place, script, *words)

    monkeypatch.setattr(environment, "run_script", answer)


@pytest.mark.usefixtures("_proven")
def test_setup_beside_a_torch_and_without_a_network_is_whole_a_no_op_again_and_anew_for_another_torch(
    other: Path, carried: WheelFolder, real_looking: Path, tmp_path: Path
) -> None:
    home, told = Home(tmp_path / "home"), list[str]()
    request = SetupRequest(
        source=str(real_looking), torch=TorchBuild.EXISTING, python=str(other), wheels=str(carried.path)
    )

    made = building.create(home, request, recreate=False, report=told.append)

    assert made.lock.existing is not None
    assert made.lock.existing.version == "2.11.0+cu130"
    assert made.has_module("torch")
    assert made.has_module("bitsandbytes")
    assert not made.has_module("lycoris")
    assert hub.has_tokenizers(home)
    assert building.create(home, request, recreate=False, report=told.append) == made

    metadata = Path(made.lock.existing.metadata)
    metadata.rename(metadata.with_name("torch-2.12.0.dist-info"))
    with pytest.raises(SetupError, match="this environment uses torch"):
        environment.require(home)
    (metadata.with_name("torch-2.12.0.dist-info") / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: torch\nVersion: 2.12.0\n", encoding="utf-8"
    )
    again = building.create(home, request, recreate=False, report=told.append)
    assert again.lock.existing is not None
    assert (again.folder != made.folder, again.lock.existing.version) == (True, "2.12.0")


def test_every_wheel_that_is_missing_is_told_at_once_with_who_needs_it(tmp_path: Path) -> None:
    put_wheel(tmp_path, "accelerate", "1.6.0", ("numpy>=1.17", "psutil", "colorama; sys_platform == 'nowhere'"))
    put_wheel(tmp_path, "psutil", "7.0.0", tag="cp27-cp27m-win32")
    wanted = ["accelerate==1.6.0", "transformers==4.54.1", "torch"]

    with pytest.raises(SetupError) as raised:
        wheel_folder.require_complete(WheelFolder(tmp_path), wanted, Target("3.12.3"), {"torch": "2.11.0+cu130"})

    (problem,) = raised.value.problems
    assert problem.message == (
        f"{tmp_path} lacks 3 wheels for Python 3.12.3: "
        "transformers==4.54.1, numpy>=1.17 (for accelerate), psutil (for accelerate)"
    )
    assert "pip download --dest FOLDER --no-deps --python-version 3.12.3 --only-binary=:all:" in str(problem.hint)
    assert "`sdxl-train setup --download FOLDER --torch existing --python 3.12.3`" in str(problem.hint)


def test_a_folder_of_wheels_that_is_whole_is_taken(tmp_path: Path) -> None:
    put_wheel(tmp_path, "diffusers", "0.32.1", ('torch>=1.4; extra == "torch"', 'flax; extra == "flax"'))

    wheel_folder.require_complete(WheelFolder(tmp_path), ["diffusers[torch]==0.32.1"], Target("3.12.3"), {"torch": "2"})
    with pytest.raises(SetupError, match=r"no folder .* to take wheels from"):
        wheel_folder.require(tmp_path / "nowhere")
    with pytest.raises(SetupError, match=r"lacks 1 wheel for Python 3\.12\.3: torch>=1\.4 \(for diffusers\)"):
        wheel_folder.require_complete(WheelFolder(tmp_path), ["diffusers[torch]==0.32.1"], Target("3.12.3"), {})


def test_a_wheel_that_came_in_half_is_told(tmp_path: Path) -> None:
    wheel = put_wheel(tmp_path, "accelerate", "1.6.0")
    wheel.write_bytes(wheel.read_bytes()[:100])

    with pytest.raises(SetupError, match="is not a whole wheel"):
        wheel_folder.require_complete(WheelFolder(tmp_path), ["accelerate"], Target("3.12.3"), {})


def test_tokenizers_that_a_folder_lacks_are_named_and_those_of_the_home_stay(tmp_path: Path) -> None:
    home, (first, second) = Home(tmp_path / "home"), hub.TOKENIZERS
    (home.tokenizers / first).mkdir(parents=True)
    (home.tokenizers / first / "vocab.json").write_text("mine", encoding="utf-8")

    assert wheel_folder.take_tokenizers(WheelFolder(tmp_path), home) == [second]
    assert (home.tokenizers / first / "vocab.json").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(("system", "tag"), [(System.LINUX, "manylinux_2_17_x86_64"), (System.WINDOWS, "win_amd64"),
                                             (System.LINUX_ARM, "manylinux2014_aarch64")])  # fmt: skip
def test_wheels_of_another_system_are_asked_for_by_its_names(system: System, tag: str) -> None:
    assert tag in system.tags


def test_the_list_of_what_is_there_is_read_as_pip_prints_it(tmp_path: Path) -> None:
    listed = "Hugging_Face.Hub==1.33.0\nlocal @ file:///x\n\ntorch==2.11.0\n"
    (tmp_path / "list.txt").write_text(listed, encoding="utf-8")

    assert gathering.read_packages(tmp_path / "list.txt") == {"hugging-face-hub": "1.33.0", "torch": "2.11.0"}
    assert gathering.read_packages(None) == {}
    with pytest.raises(SetupError, match="can't be read"):
        gathering.read_packages(tmp_path / "nowhere")


def test_a_torch_that_sees_no_gpu_is_refused_with_what_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    card = gpu.Gpu(0, "a card", 24.0, 20.0, (8, 6), "550.54.14")
    monkeypatch.setattr(gpu, "devices", lambda: (card,))
    facts = {"torch": {"version": "2.6.0+cpu", "cuda_available": False, "devices": []}}

    with pytest.raises(SetupError, match=r"torch 2\.6\.0\+cpu sees no GPU"):
        installing.require_gpu_support(facts, InstallPlan(ROW, TorchBuild.EXISTING, (), None))


def test_a_python_is_kept_as_an_absolute_path_and_a_version_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert SetupRequest(python="./bin/python").python == str(tmp_path / "bin" / "python")
    assert SetupRequest(python="3.12").python == "3.12"
    assert SetupRequest(wheels=f".{os.sep}wheels").wheels == str(tmp_path / "wheels")


@pytest.mark.skipif(process.WINDOWS, reason="the program in uv's place is a shell script")
def test_what_the_other_machine_has_is_not_fetched_and_source_alone_is_built(
    real_looking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_wheel(tmp_path / "index", "schedulefree", "1.4")
    program, calls = tmp_path / "uv", tmp_path / "calls"
    program.write_text(
        f"""#!/bin/sh
echo "$@" >> {calls}
case "$*" in
pip\\ compile*) printf 'numpy==2.5.2\\nTransformers==4.54.1\\nschedulefree==1.4\\n' > "$5" ;;
*\\ download\\ *schedulefree*) echo "ERROR: No matching distribution found for schedulefree==1.4"; exit 1 ;;
*\\ wheel\\ *) cp {tmp_path}/index/*.whl {tmp_path}/folder ;;
esac
""",
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setattr(installer, "find_uv_bin", lambda: str(program))
    home, told = Home(tmp_path / "home"), list[str]()
    for name in hub.TOKENIZERS:
        for file in hub.TOKENIZER_FILES:
            (home.tokenizers / name).mkdir(parents=True, exist_ok=True)
            (home.tokenizers / name / file).write_text("{}", encoding="utf-8")
    request = SetupRequest(source=str(real_looking), torch=TorchBuild.EXISTING)
    machine = gathering.OtherMachine(request.source, "3.12", System.LINUX, {"numpy": "2.5.2", "torch": "2.11.0"})
    folder = WheelFolder(tmp_path / "folder")

    gathering.download(home, folder, request, machine, told.append)

    said = calls.read_text(encoding="utf-8").splitlines()
    assert "--python-version 3.12 --python-platform x86_64-manylinux_2_28" in said[0]
    assert said[1].endswith("pip schedulefree==1.4 transformers==4.54.1")
    assert said[2].endswith("--no-deps schedulefree==1.4")
    assert said[3].endswith("pip transformers==4.54.1")
    assert list(folder.wheels) == ["schedulefree"]
    assert (folder.source / "sdxl_train.py").is_file()
    assert not wheel_folder.take_tokenizers(folder, Home(tmp_path / "another"))
    assert told[-1] == "fetching 3 packages for Python 3.12 on linux"
