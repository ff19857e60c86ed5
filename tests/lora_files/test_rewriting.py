"""A file with other metadata: its tensors stay byte for byte, and it is whole or not there."""

from __future__ import annotations

import errno
import hashlib
import shutil
from pathlib import Path

import pytest
import tensor_files

from sdxl_train_cli import files
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.lora_files import output, rewriting
from sdxl_train_cli.sdscripts import checkpoint


def tensors(path: Path) -> bytes:
    """All that stands behind the header."""
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    metadata = {"ss_steps": "9", "sshs_model_hash": "x", "sshs_legacy_hash": "y", "modelspec.hash_sha256": "z"}
    return tensor_files.write(tmp_path / "a.safetensors", tensor_files.lora(), **metadata)


def test_tensors_stay_byte_for_byte_and_begin_at_a_multiple_of_8(lora: Path, tmp_path: Path) -> None:
    made = tmp_path / "мой.safetensors"

    rewriting.write(lora, made, {"modelspec.title": "Кот \U0001f408"})

    assert tensors(made) == tensors(lora)
    assert int.from_bytes(made.read_bytes()[:8], "little") % 8 == 0
    assert checkpoint.read_header(made).metadata == {"modelspec.title": "Кот \U0001f408"}
    assert checkpoint.read_header(made).shapes == checkpoint.read_header(lora).shapes


def test_hashes_of_the_tensors_are_true_and_one_that_cannot_be_is_left_out(lora: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(tensors(lora)).hexdigest()
    told = dict(checkpoint.read_header(lora).metadata)

    kept = rewriting.write(lora, tmp_path / "b.safetensors", told)
    changed = rewriting.write(lora, tmp_path / "c.safetensors", {**told, "ss_steps": "10"})

    assert kept == {**told, "sshs_model_hash": digest, "modelspec.hash_sha256": f"0x{digest}"}
    assert "sshs_legacy_hash" not in changed


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_ctrl_c_leaves_nothing_behind(
    lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    before = sorted(tmp_path.rglob("*"))

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(shutil, "copyfileobj", fail)
    with pytest.raises((UsageError, KeyboardInterrupt)):
        rewriting.write(lora, tmp_path / "b.safetensors", {})

    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_that_was_there_stays_if_making_another_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before", encoding="utf-8")

    with pytest.raises(FileNotFoundError), files.made_whole(path):
        pass  # nothing is made

    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text(encoding="utf-8") == "before"


def test_an_input_is_never_the_output_by_any_name(lora: Path, tmp_path: Path) -> None:
    (tmp_path / "link.safetensors").symlink_to(lora)
    (tmp_path / "hard.safetensors").hardlink_to(lora)
    (tmp_path / "folder").symlink_to(tmp_path)

    for name in ("a.safetensors", "link.safetensors", "hard.safetensors", "folder/a.safetensors", "./a.safetensors"):
        with pytest.raises(UsageError, match="never overwritten"):
            output.choose(tmp_path / name, lora, "edited", [lora], force=True)


def test_a_name_that_differs_in_capitals_is_the_input_where_the_disk_says_so(
    lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.samefile
    monkeypatch.setattr(Path, "samefile", lambda one, other: real(Path(str(one).lower()), Path(str(other).lower())))
    monkeypatch.setattr(output.os.path, "realpath", str)

    if str(tmp_path) != str(tmp_path).lower():
        pytest.skip("the folder's own name has capitals")
    with pytest.raises(UsageError, match="never overwritten"):
        output.choose(tmp_path / "A.SAFETENSORS", lora, "edited", [lora], force=True)


def test_the_new_name_stands_beside_the_input_and_another_file_is_kept(lora: Path, tmp_path: Path) -> None:
    path = output.choose(None, lora, "rank16", [lora], force=False)
    path.write_text("mine", encoding="utf-8")

    assert path == tmp_path / "a.rank16.safetensors"
    with pytest.raises(UsageError, match="exists"):
        output.choose(None, lora, "rank16", [lora], force=False)
    assert output.choose(None, lora, "rank16", [lora], force=True) == path
    assert output.choose(tmp_path, lora, "merged", [lora], force=False) == tmp_path / "a.merged.safetensors"
    with pytest.raises(UsageError, match="does not end in"):
        output.choose(tmp_path / "b.ckpt", lora, "x", [lora], force=False)
    with pytest.raises(UsageError, match=r"a\.safetensors is no folder"):
        output.choose(lora / "new" / "b.safetensors", lora, "x", [lora], force=False)


def test_a_hint_about_a_name_keeps_the_folder_that_was_typed(
    lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError) as told:
        output.choose(Path("my files/b.v2"), lora, "x", [lora], force=False)

    assert told.value.problems[0].hint == "-o 'my files/b.v2.safetensors'"


def test_a_folder_that_is_missing_is_made_with_the_file_and_goes_if_that_fails(lora: Path, tmp_path: Path) -> None:
    path = output.choose(tmp_path / "new" / "inner" / "b.safetensors", lora, "x", [lora], force=False)
    output.require_room(path, 10)
    assert not (tmp_path / "new").exists()

    with pytest.raises(FileNotFoundError), files.made_whole(path):
        pass  # nothing is made
    assert not (tmp_path / "new").exists()

    rewriting.write(lora, path, {})
    assert [file.name for file in path.parent.iterdir()] == ["b.safetensors"]


def test_room_on_the_disk_is_looked_at_before(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"but the result takes 1000\.0 TB"):
        output.require_room(tmp_path / "a.safetensors", 10**15)
