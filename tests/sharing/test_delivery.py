"""A share is made of what is known, is whole or absent, and is the same each time."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import shared_runs
import tensor_files
from PIL import Image

from sdxl_train_cli import files
from sdxl_train_cli.errors import ModelError, UsageError
from sdxl_train_cli.lora_files import rewriting
from sdxl_train_cli.sdscripts import checkpoint
from sdxl_train_cli.sharing import delivery, model_copy, share_plan, subject
from sdxl_train_cli.sharing.share_plan import Share, ShareChoices


def plan(run: Path, checkpoint: str | None = None, **choices: object) -> Share:
    return share_plan.plan(subject.find(str(run), run.parent, checkpoint), ShareChoices(**choices))  # type: ignore[arg-type]


def test_the_weights_are_hashed_once_for_all_that_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared_runs.lora(tmp_path / "a.safetensors", sshs_model_hash="stale", **{"modelspec.hash_sha256": "0xstale"})
    hashed: list[Path] = []
    real = rewriting.tensors_hash
    monkeypatch.setattr(rewriting, "tensors_hash", lambda *given: hashed.append(given[0]) or real(*given))
    share = plan(path)
    delivery.write(share, tmp_path / "out")
    told = checkpoint.read_header(tmp_path / "out" / "a.safetensors").metadata

    assert hashed == [path]
    assert told["sshs_model_hash"] == real(path) == share.copy.hashes.addnet
    assert told["modelspec.hash_sha256"] == f"0x{real(path)}"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return shared_runs.keep(tmp_path / "output" / "cat")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_a_share_has_the_file_card_previews_and_sums_that_hold(run: Path, tmp_path: Path) -> None:
    delivery.write(plan(run, for_civitai=True), tmp_path / "out")

    made = contents(tmp_path / "out")
    assert set(made) == {"cat.safetensors", "README.md", "SHA256SUMS", "civitai.md", "civitai.json",
                         "previews/1.png", "previews/2.png"}  # fmt: skip
    sums = dict(reversed(line.split("  ")) for line in made.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in made.items()}


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_the_same_run_shared_twice_is_byte_for_byte_the_same(run: Path, tmp_path: Path, name: str) -> None:
    first, second = tmp_path / "a" / name, tmp_path / "b" / name
    for place in (first, second):
        delivery.write(plan(run, for_civitai=True), place)
        os.utime(run / "cat.safetensors", (1, 1))

    if first.is_file():
        assert first.read_bytes() == second.read_bytes()
    else:
        assert contents(first) == contents(second)


def test_the_zip_holds_what_the_folder_holds(run: Path, tmp_path: Path) -> None:
    share = plan(run)
    delivery.write(share, tmp_path / "out")
    delivery.write(share, tmp_path / "out.zip")

    with zipfile.ZipFile(tmp_path / "out.zip") as packed:
        assert packed.testzip() is None
        found = {entry.filename.removeprefix("out/"): packed.read(entry) for entry in packed.infolist()}
        assert {entry.date_time for entry in packed.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert found == contents(tmp_path / "out")


def test_the_weights_stay_byte_for_byte_and_the_hashes_are_those_of_the_sites(run: Path) -> None:
    share = plan(run)

    def weights(path: Path) -> bytes:
        content = path.read_bytes()
        return content[8 + struct.unpack("<Q", content[:8])[0] :]

    source = run / "cat.safetensors"
    into = run / "copy.safetensors"
    with into.open("wb") as file:
        model_copy.write(share.copy, file)
    assert weights(into) == weights(source)
    assert share.copy.hashes.sha256 == hashlib.sha256(into.read_bytes()).hexdigest()
    assert share.copy.hashes.auto_v2 == share.copy.hashes.sha256[:10]
    assert share.copy.hashes.auto_v3 == hashlib.sha256(weights(source)).hexdigest()[:12]
    assert struct.unpack("<Q", into.read_bytes()[:8])[0] % 8 == 0


def test_a_share_is_replaced_whole_and_never_mixed_with_another(run: Path, tmp_path: Path) -> None:
    place = tmp_path / "out"
    delivery.write(plan(run, for_civitai=True), place)
    delivery.write(plan(run, previews=()), place)

    assert set(contents(place)) == {"cat.safetensors", "README.md", "SHA256SUMS"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda place: (place / "notes.txt").write_text("mine"), "holds other files than a share"),
        (lambda place: (place / "README.md").write_text("mine"), "README.md was changed since"),
        (lambda place: (place / "SHA256SUMS").unlink(), "it is no share"),
    ],
)
def test_what_somebody_has_changed_is_not_replaced(
    run: Path, tmp_path: Path, change: Callable[[Path], object], words: str
) -> None:
    place = tmp_path / "out"
    delivery.write(plan(run), place)
    change(place)
    before = contents(place)

    with pytest.raises(UsageError, match=words):
        delivery.write(plan(run), place)
    assert contents(place) == before


def test_a_file_that_is_no_share_is_not_replaced_by_a_zip(run: Path, tmp_path: Path) -> None:
    (tmp_path / "out.zip").write_bytes(b"mine")

    with pytest.raises(UsageError, match="no share"):
        delivery.write(plan(run), tmp_path / "out.zip")
    assert (tmp_path / "out.zip").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["out", "out.zip"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_ctrl_c_leaves_nothing_or_the_former_share(
    run: Path, tmp_path: Path, name: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "there" / name
    place.parent.mkdir()
    share = plan(run)
    broken = Share(share.facts, {**share.contents, "last": b"x"}, (), ())

    def fail(path: Path, content: bytes | str, **_: object) -> None:
        if content == b"x":
            raise error
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    monkeypatch.setattr(files, "write", fail)
    monkeypatch.setattr(delivery, "_writer", lambda content: lambda into: fail_in_zip(into, content))

    def fail_in_zip(into: object, content: bytes) -> None:
        if content == b"x":
            raise error
        into.write(content)  # type: ignore[attr-defined]

    for former in ([], ["former"]):
        before = sorted(path.name for path in place.parent.iterdir())
        with pytest.raises((UsageError, KeyboardInterrupt)):
            delivery.write(broken, place)
        assert sorted(path.name for path in place.parent.iterdir()) == before, former
        monkeypatch.undo()
        delivery.write(share, place)
        monkeypatch.setattr(files, "write", fail)
        monkeypatch.setattr(delivery, "_writer", lambda content: lambda into: fail_in_zip(into, content))


def test_a_file_that_changes_meanwhile_is_told(run: Path, tmp_path: Path) -> None:
    share = plan(run)
    content = bytearray((run / "cat.safetensors").read_bytes())
    content[-1] ^= 1
    (run / "cat.safetensors").write_bytes(content)

    with pytest.raises(ModelError, match="changed meanwhile"):
        delivery.write(share, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Python measures no memory there")
def test_a_large_file_is_copied_in_pieces(tmp_path: Path) -> None:
    """120 MB, by a process that may take 16 MB more than it has at its start."""
    large = tmp_path / "big.safetensors"
    head = json.dumps(
        {"model.diffusion_model.x": {"dtype": "F16", "shape": [60_000_000], "data_offsets": [0, 120_000_000]}}
    ).encode()
    with large.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.truncate(8 + len(head) + 120_000_000)
    code = (
        "import resource, sys; from pathlib import Path; from sdxl_train_cli.sharing import model_copy\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with open(sys.argv[2], 'wb') as sink: model_copy.write(model_copy.plan(Path(sys.argv[1]), {'a': 'b'}), sink)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, large, tmp_path / "copy"], check=True, capture_output=True, text=True
    )

    assert int(ran.stdout) < 16_000  # KiB


def test_a_checkpoint_is_named_by_step_file_or_path_and_its_samples_are_of_its_moment(run: Path) -> None:
    for typed in ("3", "step-3", "cat-step00000003.safetensors", str(run / "cat-step00000003.safetensors")):
        assert plan(run, typed).facts.moment == "step 3"
    chosen = plan(run, "3")
    assert [preview.moment for preview in chosen.facts.previews] == ["step 3", "step 3"]
    assert dict(chosen.facts.training.settings)["steps"] == "3"
    assert chosen.facts.model.file == "cat.safetensors"
    assert plan(run / "cat-step00000003.safetensors").facts.moment == "step 3"

    with pytest.raises(UsageError) as told:
        plan(run, "4")
    assert told.value.problems[0].hint == "it has --checkpoint 3, --checkpoint final"


def test_a_file_without_a_run_has_a_card_that_says_what_is_unknown(tmp_path: Path) -> None:
    path = tensor_files.write(tmp_path / "mine.safetensors", tensor_files.lora())
    share = plan(path)

    card = share.contents["README.md"].decode()
    for line in ("- Trigger: unknown", "Base: unknown.", "Data: unknown.", "licence of the base isn't known here"):
        assert line in card
    assert [str(problem) for problem in share.warnings] == [
        "the trigger isn't known, so the card names none",
        "the base isn't known, so neither is its licence",
        "no picture is shared",
    ]


def test_flags_say_what_a_file_without_a_run_does_not(tmp_path: Path) -> None:
    path = tensor_files.write(tmp_path / "mine.safetensors", tensor_files.lora())
    picture = tmp_path / "shown.png"
    Image.new("RGB", (32, 32), "red").save(picture)

    share = plan(path, trigger="ohwx dog", base="NoobAI-XL-v1.1.safetensors", previews=(picture,))

    assert not share.warnings
    assert share.facts.base.hub == "Laxhar/noobai-XL-1.1"


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(b"\x80")
    tensor_files.write(tmp_path / "vae.safetensors", {"encoder.conv": tensor_files.numbers(2, 2)})

    with pytest.raises(ModelError, match="pickle"):
        plan(tmp_path / "x.ckpt")
    with pytest.raises(ModelError, match="no LoRA, checkpoint or embedding"):
        plan(tmp_path / "vae.safetensors")
