"""Caches on disk are held against the run that would read them, by their front matter alone."""

from __future__ import annotations

import io
import json
import os
import pickle
import shlex
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from conftest import SDXL_TENSORS, Result, write_pictures
from PIL import Image

from sdxl_train_cli.dataset import cache_headers, cache_stamps
from sdxl_train_cli.recipe import Kind, Setting
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.sdscripts import latent_caches
from sdxl_train_cli.sdscripts.cache_makers import CacheMakers, WeightSample
from sdxl_train_cli.sdscripts.latent_caches import CacheFault

Main = Callable[..., Result]
SIDE = 128
FLAGS = ("--resolution", str(SIDE), "--set", "cache_latents_to_disk=true")
LATENTS = {"latents": (4, 16, 16), "original_size": (2,), "crop_ltrb": (4,)}


def npy(shape: tuple[int, ...], descr: str = "<f4", data: bytes | None = None) -> bytes:
    """An array as numpy saves it."""
    sides = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sides}), }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    count = 1
    for side in shape:
        count *= side
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + (bytes(4 * count) if data is None else data)


def write_cache(path: Path, shapes: Mapping[str, tuple[int, ...]], compression: int = zipfile.ZIP_STORED) -> Path:
    """A cache as sd-scripts writes it."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for key, shape in shapes.items():
            archive.writestr(f"{key}.npy", npy(shape))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, each a bucket of its own size at 128."""
    return write_pictures(tmp_path / "pictures", count=2, size=(SIDE, SIDE))


def cached(folder: Path, shapes: Mapping[str, tuple[int, ...]] = LATENTS) -> list[Path]:
    return [write_cache(folder / f"{number}_0128x0128_sdxl.npz", shapes) for number in range(2)]


def texts(folder: Path, tokens: int = 227) -> list[Path]:
    shapes = {"hidden_state1": (tokens, 768), "hidden_state2": (tokens, 1280), "pool2": (1280,)}
    return [write_cache(folder / f"{number}_te_outputs.npz", shapes) for number in range(2)]


@pytest.fixture
def dry(main: Main, folder: Path, model: Path) -> Main:
    def run(*arguments: str) -> Result:
        return main("lora", "--model", model, "--data", folder, "--no-vram-check", "--dry-run", *FLAGS, *arguments)

    return run


# --- what is in a cache


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_shapes_are_read_without_the_arrays(tmp_path: Path, compression: int) -> None:
    path = write_cache(tmp_path / "a.npz", LATENTS, compression)

    assert latent_caches.read(path).shapes == LATENTS
    assert latent_caches.read(path).fault is None


def test_pickled_objects_are_told_by_their_type_and_never_loaded(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("latents.npy", npy((1,), "|O", pickle.dumps(Evil())))

    assert latent_caches.read(path).fault is CacheFault.PICKLED
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 4096, b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_cache_is_broken_and_nothing_worse(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)

    assert latent_caches.read(path).fault is CacheFault.BROKEN


def test_a_cache_that_was_cut_off_is_broken_wherever_it_was_cut(tmp_path: Path) -> None:
    whole = write_cache(tmp_path / "a.npz", LATENTS).read_bytes()
    path = tmp_path / "b.npz"
    for end in range(0, len(whole), 97):
        path.write_bytes(whole[:end])
        assert latent_caches.read(path).fault is CacheFault.BROKEN


def test_a_zip_with_a_long_list_is_not_read_through(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(1000):
            archive.writestr(f"{number}.npy", b"")
    (tmp_path / "a.npz").write_bytes(buffer.getvalue())

    assert latent_caches.read(tmp_path / "a.npz").fault is CacheFault.BROKEN


def test_a_cache_that_was_looked_at_is_not_opened_again(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = cached(folder)
    first = cache_headers.read(paths, tmp_path / "kept")
    monkeypatch.setattr(latent_caches, "read", lambda path: pytest.fail(f"{path} was opened"))

    assert cache_headers.read(paths, tmp_path / "kept") == first
    monkeypatch.undo()
    write_cache(paths[0], {"latents": (4, 8, 8)})
    assert cache_headers.read(paths, tmp_path / "kept")[paths[0]].shapes == {"latents": (4, 8, 8)}


# --- what it means for a run


def test_caches_that_fit_are_used(dry: Main, folder: Path) -> None:
    cached(folder)
    texts(folder)

    assert dry("--set", "cache_text_encoder_outputs_to_disk=true").code == 0


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (({"latents": (4, 8, 8)}, ()), "latents of 64x64 pixels, and this run needs 128x128"),
        (({"latents": (16, 16, 16)}, ()), "latents of the shape 16x16x16, which is not SDXL's"),
        (({"latents_16x16": (4, 16, 16), "latents": (4, 8, 8)}, ()), "latents of 64x64 pixels"),
        (({"latents_flipped": (4, 8, 8)}, ("flip_aug=true",)), "flipped latents of 64x64 pixels"),
        (({"alpha_mask": (64, 64)}, ("alpha_mask=true",)), "a mask of 64x64, and this run needs 128x128"),
        (({"alpha_mask": (128, 128)}, ()), "hold masks, which sd-scripts would train with though alpha_mask is off"),
    ],
)
def test_latents_of_another_run_are_refused_and_the_hint_helps(
    dry: Main, main: Main, folder: Path, case: tuple[Mapping[str, tuple[int, ...]], tuple[str, ...]], words: str
) -> None:
    shapes, options = case
    paths = cached(folder, {**LATENTS, **shapes})
    typed = [word for option in options for word in ("--set", option)]

    result = dry(*typed)

    assert result.code == 4, result.stderr
    checked = main("dataset", "check", folder, *FLAGS, *typed)
    assert words in checked.stdout + checked.stderr
    assert "2 caches" in result.stderr
    hint = next(line for line in result.stderr.splitlines() if "--stale-caches" in line)
    deleted = main(*shlex.split(hint[hint.index("dataset ") :]))
    assert deleted.code == 0, deleted.stderr
    assert deleted.stdout.splitlines() == sorted(map(str, paths))
    assert "deleted 2 caches" in deleted.stderr
    assert dry(*typed).code == 0
    assert len(list(folder.glob("*.png"))) == len(list(folder.glob("*.txt"))) == 2


@pytest.mark.parametrize(
    ("shapes", "options"),
    [
        ({"latents_16x16": (4, 16, 16), "latents_8x8": (4, 8, 8)}, ()),  # as v0.11.1 writes them
        ({"latents_8x8": (4, 8, 8)}, ()),  # made anew by both releases
        ({**LATENTS, "latents_flipped": (4, 8, 8)}, ()),
        (LATENTS, ("flip_aug=true",)),  # made anew
        ({**LATENTS, "alpha_mask": (128, 128)}, ("alpha_mask=true",)),
        ({"latents_8x8": (4, 8, 8), "alpha_mask_8x8": (64, 64)}, ()),
    ],
)
def test_what_sd_scripts_makes_anew_or_does_not_read_is_no_problem(
    dry: Main, folder: Path, shapes: Mapping[str, tuple[int, ...]], options: tuple[str, ...]
) -> None:
    cached(folder, shapes)

    result = dry(*(word for option in options for word in ("--set", option)))

    assert result.code == 0, result.stderr


def test_without_its_own_check_sd_scripts_makes_nothing_anew(dry: Main, folder: Path) -> None:
    cached(folder)

    result = dry("--set", "flip_aug=true", "--set", "skip_cache_check=true")

    assert result.code == 4
    assert "2 caches lack what this run needs, and skip_cache_check lets that pass" in result.stderr


def test_captions_that_were_encoded_shorter_are_refused(dry: Main, folder: Path) -> None:
    texts(folder, tokens=77)

    result = dry("--set", "cache_text_encoder_outputs_to_disk=true", "--set", "max_token_length=150")

    assert result.code == 4
    assert "2 caches are of another run (75 tokens of text, and this run reads 150)" in result.stderr
    assert "max_token_length=150" in result.stderr


def test_a_broken_cache_is_refused_before_the_trainer_stops_at_it(dry: Main, folder: Path) -> None:
    cached(folder)[0].write_bytes(b"PK\x03\x04")

    result = dry()

    assert result.code == 4
    assert "0_0128x0128_sdxl.npz is cut off or broken" in result.stderr


def test_a_persons_own_arrays_under_the_name_of_a_cache_are_named(dry: Main, folder: Path) -> None:
    """sd-scripts would write its latents into the file."""
    (path, _) = cached(folder, {"my_poses": (17, 3)})
    result = dry()

    assert result.code == 4
    assert f"would write caches over 2 files, which are none: {path.name}" in result.stderr


def test_caches_that_the_run_does_not_read_are_let_be(dry: Main, folder: Path) -> None:
    paths = cached(folder, {"latents": (4, 8, 8)})

    assert dry("--set", "cache_latents_to_disk=false").code == 0
    assert all(path.exists() for path in paths)


def test_a_new_picture_does_not_get_the_size_of_one_whose_name_begins_alike(
    main: Main, tmp_path: Path, model: Path
) -> None:
    """sd-scripts looks for caches of `1.png` and is content with `10_0256x0128_sdxl.npz`."""
    folder = write_pictures(tmp_path / "pictures", count=2, size=(SIDE, SIDE))
    Image.new("RGB", (256, 128)).save(folder / "10.png")
    (folder / "10.txt").write_text("a cat", encoding="utf-8")
    write_cache(folder / "10_0256x0128_sdxl.npz", {**LATENTS, "latents": (4, 8, 16)})
    line = ["lora", "--model", model, "--data", folder, "--no-vram-check", "--dry-run", "--resolution", "128"]

    result = main(*line)

    assert result.code == 4
    assert "10_0256x0128_sdxl.npz belongs to another picture, but sd-scripts takes the size of 1.png" in result.stderr


def test_caches_of_other_models_are_told(main: Main, folder: Path) -> None:
    write_cache(folder / "0_0128x0128_flux.npz", {"latents_16x16": (16, 16, 16)})

    assert "is a cache of another kind of model" in main("dataset", "check", folder, *FLAGS).stdout


def test_a_fix_needs_to_know_what_it_is_for(main: Main, folder: Path, tmp_path: Path) -> None:
    assert main("dataset", "fix", folder).code == 2
    assert main("dataset", "fix", folder, "--stale-caches", "--to", tmp_path / "new").code == 2
    nothing = main("dataset", "fix", folder, "--stale-caches")
    assert (nothing.code, nothing.stdout) == (0, "")
    assert "no cache had to be deleted" in nothing.stderr


# --- who made them


def write_model(path: Path, value: float, dtype: str = "F16") -> Path:
    """An SDXL checkpoint whose VAE is told by one number."""
    names = ("encoder.conv_in.weight", "encoder.conv_out.weight", "quant_conv.weight")
    code, width = {"F16": ("e", 2), "F32": ("f", 4)}[dtype]
    header: dict[str, object] = {}
    content = b""
    for name in (*SDXL_TENSORS, *(f"first_stage_model.{name}" for name in names)):
        numbers = struct.pack(f"<16{code}", *[value] * 16)
        header[name] = {"dtype": dtype, "shape": [16], "data_offsets": [len(content), len(content) + 16 * width]}
        content += numbers
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)
    return path


def test_caches_of_another_vae_are_refused_and_the_hint_helps(main: Main, folder: Path, tmp_path: Path) -> None:
    first, other = write_model(tmp_path / "a.safetensors", 0.3), write_model(tmp_path / "b.safetensors", 0.4)
    line = ["lora", "--data", folder, "--no-vram-check", *FLAGS, "--model"]
    assert main(*line, first).code == 0
    stamp = folder / cache_stamps.NAME
    assert 0 < stamp.stat().st_size < 2000
    cached(folder)  # the stand-in made none

    assert main(*line, first, "--dry-run").code == 0
    same = write_model(tmp_path / "c.safetensors", 0.3, "F32")
    assert main(*line, same, "--dry-run").code == 0  # the same VAE in another precision
    result = main(*line, other, "--dry-run")
    assert result.code == 4
    assert "were made with another VAE than this run's" in result.stderr
    hint = next(text for text in result.stderr.splitlines() if "--stale-caches" in text)
    assert main(*shlex.split(hint[hint.index("dataset ") :])).code == 0
    assert not list(folder.glob("*.npz"))

    assert main(*line, other).code == 0
    cached(folder)
    assert main(*line, other, "--dry-run").code == 0
    assert main(*line, first, "--dry-run").code == 4


def test_caches_of_nobody_knows_whom_are_told_and_stay_unknown(main: Main, folder: Path, tmp_path: Path) -> None:
    base = write_model(tmp_path / "a.safetensors", 0.3)
    cached(folder)

    result = main("lora", "--data", folder, "--no-vram-check", *FLAGS, "--model", base)

    assert result.code == 0, result.stderr
    assert f"nothing tells whether 2 caches in {folder} were made with this run's VAE" in result.stderr
    assert not (folder / cache_stamps.NAME).exists()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"made_by": {"vae": {"dtype": "I64", "values": [1]}}}', b"\xff"])
def test_a_stamp_that_is_not_ours_says_nothing(folder: Path, content: bytes) -> None:
    (folder / cache_stamps.NAME).write_bytes(content)
    paths = cached(folder)
    makers = CacheMakers(WeightSample("F16", (1.0,)), None)
    recipe = presets.load(Kind.LORA, "dim32-gc").replaced({"cache_latents_to_disk": Setting(value=True)})

    (found,) = cache_stamps.find([folder], recipe, makers, "")

    assert (found.kind, list(found.files)) == ("unknown-maker", paths)


def test_encoded_captions_older_than_their_metadata_are_refused(main: Main, folder: Path, model: Path) -> None:
    rows = "".join(f"{number}.png,a cat\n" for number in range(2))
    for number in range(2):
        (folder / f"{number}.txt").unlink()
    (folder / "metadata.csv").write_text(f"file_name,text\n{rows}", encoding="utf-8")
    for path in texts(folder):
        os.utime(path, (1, 1))
    line = ["lora", "--model", model, "--data", folder, "--no-vram-check", "--dry-run", *FLAGS]

    result = main(*line, "--set", "cache_text_encoder_outputs_to_disk=true")

    assert result.code == 4
    assert "2 caches are of another run (older than metadata.csv, whose captions are not read)" in result.stderr


# --- what may be deleted


DELETE = ("--stale-caches", *FLAGS, "--set", "cache_text_encoder_outputs_to_disk=true")


def test_a_persons_own_files_are_named_and_never_deleted(main: Main, folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (SIDE, SIDE)).save(folder / "2.png")
    first, other = write_model(tmp_path / "a.safetensors", 0.3), write_model(tmp_path / "b.safetensors", 0.4)
    assert main("lora", "--data", folder, "--no-vram-check", *FLAGS, "--model", first).code == 0
    own = [
        write_cache(folder / "0.npz", {"landmarks": (68, 2)}),
        folder / "1.npz",
        write_cache(folder / "2.npz", {"latents": (4, 16, 16)}),
        write_cache(folder / "2_9999x9999_sdxl.npz", {"notes": (3,)}),
        write_cache(folder / "1_9999x9999_sdxl.npz", {**LATENTS, "notes": (3,)}),
        write_cache(folder / "my_landmarks_sdxl.npz", {"landmarks": (68, 2)}),
        write_cache(folder / "cat_0512x0512_sdxl.npz", LATENTS),
        write_cache(folder / "0_te_outputs.npz", {"notes": (3,)}),
        folder / "1_te_outputs.npz",
    ]
    own[1].write_bytes(b"not a zip")
    own[-1].write_bytes(b"my own notes")
    whose = write_cache(folder / "0_0128x0128_sdxl.npz", LATENTS)

    result = main("dataset", "fix", folder, *DELETE, "--model", other)

    assert (result.code, result.stdout.splitlines()) == (0, [str(whose)])
    assert all(path.exists() for path in own)
    assert "they are not caches of sd-scripts: move them away" in result.stderr
    assert "it belongs to no picture of this dataset: move it away" in result.stderr
    told = " ".join(result.stderr.split())
    assert all(path.name in told for path in own if path.name != "my_landmarks_sdxl.npz")
    refused = main("lora", "--data", folder, "--no-vram-check", *FLAGS, "--model", other, "--dry-run")
    assert (refused.code, "cat_0512x0512_sdxl.npz" in refused.stderr) == (4, True)


def test_after_a_fix_a_persons_own_file_does_not_keep_the_stamp_of_another_vae(
    main: Main, folder: Path, tmp_path: Path
) -> None:
    first, other = write_model(tmp_path / "a.safetensors", 0.3), write_model(tmp_path / "b.safetensors", 0.4)
    line = ["lora", "--data", folder, "--no-vram-check", *FLAGS, "--model"]
    assert main(*line, first).code == 0
    write_cache(folder / "my_landmarks_sdxl.npz", {"landmarks": (68, 2)})

    assert main(*line, other).code == 0
    cached(folder)
    assert main(*line, other, "--dry-run").code == 0


@pytest.mark.parametrize("suffix", ["0256x0256_sdxl.npz", "te_outputs.npz"])
def test_an_empty_or_cut_off_cache_of_a_picture_is_deleted(main: Main, folder: Path, suffix: str) -> None:
    paths = [folder / f"{number}_{suffix}" for number in range(2)]
    shapes = LATENTS if "sdxl" in suffix else {"hidden_state1": (227, 768)}
    paths[0].touch()
    paths[1].write_bytes(write_cache(paths[1], shapes).read_bytes()[:300])

    result = main("dataset", "fix", folder, *DELETE)

    assert result.stdout.splitlines() == list(map(str, paths)), result.stderr


@pytest.mark.parametrize("shapes", [LATENTS, {f"{key}_16x16": shape for key, shape in LATENTS.items()}])
def test_an_old_cache_is_deleted_when_its_content_proves_it(
    main: Main, folder: Path, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    old = write_cache(folder / "0.npz", shapes)
    (folder / "1.npz").touch()

    result = main("dataset", "fix", folder, *DELETE)

    assert result.stdout.splitlines() == [str(old)]
    assert (folder / "1.npz").exists()


def test_a_zip_with_a_foreign_member_is_not_taken_for_a_cut_off_cache(tmp_path: Path) -> None:
    path = write_cache(tmp_path / "a.npz", LATENTS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "mine")

    assert latent_caches.read(path).fault is CacheFault.BROKEN
    assert not latent_caches.is_cut_off(path, latent_caches.LATENTS_KEY)


def test_where_one_cannot_be_deleted_the_others_are_and_are_told(
    main: Main, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = cached(folder, {**LATENTS, "latents": (4, 8, 8)})
    unlink = Path.unlink

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        if path == first:
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)

    result = main("dataset", "fix", folder, *DELETE)

    assert (result.code, result.stdout.splitlines()) == (4, [str(second)])
    assert "0_0128x0128_sdxl.npz can't be deleted: Operation not permitted" in " ".join(result.stderr.split())
    assert "writable" not in result.stderr
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "make its folder writable" in main("dataset", "fix", folder, *DELETE).stderr


def test_text_caches_are_counted_by_what_is_wrong_with_them(dry: Main, folder: Path) -> None:
    for number, tokens in ((2, 77), (3, 152), (4, 152)):
        Image.new("RGB", (SIDE, SIDE)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a cat", encoding="utf-8")
        shapes = {"hidden_state1": (tokens, 768), "hidden_state2": (tokens, 1280), "pool2": (1280,)}
        write_cache(folder / f"{number}_te_outputs.npz", shapes)

    result = dry("--set", "cache_text_encoder_outputs_to_disk=true")

    words = " ".join(result.stderr.split())
    assert "2_te_outputs.npz is a cache of another run: 75 tokens of text, and this run reads 225" in words
    assert "2 caches are of another run (150 tokens of text, and this run reads 225)" in words
