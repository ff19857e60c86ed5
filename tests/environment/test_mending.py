"""What --fix installs, fetches and leaves alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_doctor import TORCH, VERSIONS, answer, facts, failing

from sdxl_train_cli import process
from sdxl_train_cli.environment import doctor_facts, hub, installer, mending, network, ownership
from sdxl_train_cli.environment.checkout_files import CheckoutState
from sdxl_train_cli.environment.doctor_answer import AlteredFile, FileFaultKind
from sdxl_train_cli.environment.doctor_facts import DoctorFacts
from sdxl_train_cli.environment.toolchain import TorchBuild
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.layout import Home

ZEROS = AlteredFile(file="torch/__init__.py", fault=FileFaultKind.ZEROS)
CHANGED = AlteredFile(file="diffusers/x.py", fault=FileFaultKind.CHANGED)


class Bench:
    """A home, what was installed in it, and what was told."""

    def __init__(self, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.installed, self.told = home, list[tuple[list[str], bool]](), list[str]()
        self.after = facts(answer())
        monkeypatch.setattr(doctor_facts, "gather", lambda *_: self.after)
        monkeypatch.setattr(installer, "reinstall", self._reinstall)
        ownership.claim(home)

    def _reinstall(self, _python: Path, wanted: list[str], _backend: str, _folder: None, anew: bool, _: object) -> None:
        self.installed.append((list(wanted), anew))

    def mend(self, found: DoctorFacts) -> DoctorFacts:
        return mending.mend(self.home, Path("output"), found, self.told.append)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(Home(tmp_path / "home"), monkeypatch)


def test_absent_and_wrong_packages_become_those_that_setup_installed(bench: Bench) -> None:
    there = VERSIONS | {"numpy": "3.0.1"}
    del there["imagesize"]
    after = bench.mend(facts(answer(there)))

    assert bench.installed == [(["imagesize==1.4.1"], False), (["numpy==2.4.6"], True)]
    assert after is bench.after


def test_a_broken_file_is_fetched_past_the_cache_and_a_changed_one_stays(bench: Bench) -> None:
    bench.mend(facts(answer(files={"torch": (ZEROS,), "diffusers": (CHANGED,)})))

    assert bench.installed == [(["torch==2.6.0+cu124"], True)]


def test_a_package_that_fails_although_it_is_whole_is_installed_again(bench: Bench) -> None:
    bench.mend(facts(failing(eight_bit="OSError: no kernel", compiler="FileNotFoundError: no C compiler")))

    assert bench.installed == [(["bitsandbytes==0.50.2"], True)]


def test_what_is_mended_by_its_files_is_not_installed_twice(bench: Bench) -> None:
    broken = failing(torch="ImportError: x").model_copy(update={"files": {"torch": (ZEROS,)}})
    bench.mend(facts(broken))

    assert bench.installed == [(["torch==2.6.0+cu124"], True)]


def test_the_torch_of_another_python_is_not_ours_to_mend(bench: Bench) -> None:
    found = facts(answer(VERSIONS | {"torch": "2.9.0", "numpy": "3.0.1"}))
    bench.mend(replace(found, lock=found.lock.model_copy(update={"torch_build": TorchBuild.EXISTING})))

    assert bench.installed == [(["numpy==2.4.6"], True)]


def test_a_changed_file_of_sd_scripts_stays(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    restored = list[list[str]]()
    monkeypatch.setattr(mending.checkout_files, "restore", lambda _parts, _lock, names: restored.append(list(names)))
    empty = AlteredFile(file="networks/lora.py", fault=FileFaultKind.EMPTY)
    bench.mend(facts(answer(), checkout=CheckoutState((CHANGED, empty))))

    assert restored == [["networks/lora.py"]]


def test_tokenizers_come_from_the_hub_file_by_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()
    monkeypatch.setattr(network, "fetch", lambda url: asked.append(url) or b"{}")
    path = bench.home.tokenizers / hub.TOKENIZERS[0] / "merges.txt"
    bench.mend(facts(answer(), tokenizers=(AlteredFile(file=str(path), fault=FileFaultKind.MISSING),)))

    assert [url.rpartition("/")[2] for url in asked] == ["merges.txt"]
    assert path.read_bytes() == b"{}"


def test_what_can_not_be_mended_is_told_and_the_rest_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_url: str) -> bytes:
        raise OSError("no network")

    monkeypatch.setattr(network, "fetch", refuse)
    path = str(bench.home.tokenizers / hub.TOKENIZERS[0] / "vocab.json")
    absent = (AlteredFile(file=path, fault=FileFaultKind.MISSING),)
    bench.mend(facts(answer(VERSIONS | {"numpy": "3.0.1"}), tokenizers=absent))

    assert "fetching the tokenizers: no network" in bench.told
    assert bench.installed == [(["numpy==2.4.6"], True)]


def test_nothing_is_mended_below_a_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "running_from", lambda _folder: True)

    with pytest.raises(SetupError, match="still runs"):
        bench.mend(facts(answer(torch=TORCH)))
