"""What a model file is, told from its first bytes, and under which name sd-scripts can open it."""

from __future__ import annotations

import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest
from conftest import SDXL_TENSORS, write_safetensors
from hypothesis import given, settings
from hypothesis import strategies as st

from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.sdscripts import checkpoint


def refused(model: object) -> tuple[str, str]:
    with pytest.raises(ModelError) as caught:
        checkpoint.require_sdxl(str(model))
    (problem,) = caught.value.problems
    return problem.message, problem.hint or ""


def write_header(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def tensor(dtype: str = "F16", shape: tuple[int, ...] = (1,), offsets: Any = (0, 2)) -> dict[str, object]:  # noqa: ANN401 - wrong ones too
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_safetensors(tmp_path / "base.safetensors")


# --- files


@pytest.mark.parametrize(
    ("header", "data", "is_whole"),
    [
        ({"a": tensor(), "b": tensor(offsets=(2, 4))}, b"1234", True),
        ({"a": tensor(), "b": tensor(offsets=(2, 4))}, b"123", False),
        ({"a": tensor(), "b": tensor(offsets=(2, 4))}, b"12345", False),
        ({"__metadata__": {"x": '"data_offsets":[0,9]'}, "a": tensor()}, b"12", True),
        (b'{"a":{"data_offsets" : [0, 2]', b"12", False),
        (b"", b"", False),
    ],
)
def test_a_file_that_is_cut_off_is_told_by_its_length(
    tmp_path: Path, header: object, data: bytes, is_whole: bool
) -> None:
    path = write_header(tmp_path / "cat.safetensors", header, data)

    assert checkpoint.has_whole_size(path) is is_whole
    assert not checkpoint.has_whole_size(tmp_path / "absent")


def test_a_number_of_the_metadata_is_found_alone(tmp_path: Path) -> None:
    path = write_header(tmp_path / "a", {"__metadata__": {"x": '"ss_steps": "7"', "ss_steps": "12", "ss_epoch": "one"}})

    assert [checkpoint.find_number(path, key) for key in ("ss_steps", "ss_epoch", "ss_seed")] == [12, None, None]
    assert checkpoint.find_number(tmp_path / "absent", "ss_steps") is None


def test_an_sdxl_checkpoint_is_taken_by_its_whole_path(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(base.parent)

    assert checkpoint.require_sdxl("base.safetensors") == str(base)
    assert checkpoint.require_sdxl("./base.safetensors") == str(base)


def test_a_checkpoint_in_the_home_folder_is_found(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(base.parent))
    monkeypatch.setenv("USERPROFILE", str(base.parent))

    assert checkpoint.require_sdxl("~/base.safetensors") == str(base)


def test_a_checkpoint_of_8_bit_floats_is_taken(tmp_path: Path) -> None:
    header = {name: tensor("F8_E4M3", (2,), (2 * at, 2 * at + 2)) for at, name in enumerate(SDXL_TENSORS)}
    path = write_header(tmp_path / "fp8.safetensors", {"__metadata__": {"format": "pt"}, **header}, bytes(8))

    assert checkpoint.require_sdxl(str(path)) == str(path)
    assert checkpoint.read_header(path).metadata == {"format": "pt"}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("lora_unet_down_blocks_1.lora_down.weight", "lora_te1_x.alpha"), "is a LoRA, not a base model"),
        (("lycoris_unet_x.lokr_w1",), "is a LyCORIS network"),
        (("unet.down_blocks.1.attentions.0.proj_in.lora_A.weight",), "is a LoRA in diffusers' form"),
        (("clip_g", "clip_l"), "is an embedding, made by textual inversion"),
        (("clip_g",), "is an embedding, made by textual inversion"),
        (("control_model.input_hint_block.0.weight",), "is a ControlNet"),
        (
            ("model.diffusion_model.x", "conditioner.embedders.0.model.x", "first_stage_model.x"),
            "is the SDXL refiner, which sd-scripts does not train",
        ),
        (("model.diffusion_model.x", "cond_stage_model.transformer.x", "first_stage_model.x"), "is an SD 1.x model"),
        (("model.diffusion_model.x", "cond_stage_model.model.x", "first_stage_model.x"), "is an SD 2.x model"),
        (("model.diffusion_model.joint_blocks.0.x", "first_stage_model.x"), "is an SD3 model"),
        (("model.diffusion_model.double_blocks.0.x",), "is a Flux model"),
        (("double_blocks.0.img_attn.norm.key_norm.scale",), "is a Flux model"),
        (("down_blocks.0.attentions.0.x",), "is a diffusers U-Net or VAE alone"),
        (("encoder.conv_in.weight", "decoder.conv_in.weight"), "is only a VAE"),
        (SDXL_TENSORS[:-1], "is not a whole SDXL checkpoint: it has no VAE"),
        (SDXL_TENSORS[:1], "it has no first text encoder and no second text encoder and no VAE"),
        (("something.else",), "is not a whole SDXL checkpoint"),
        ((), "is not a whole SDXL checkpoint"),
    ],
)
def test_another_model_is_called_by_its_name(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    message, hint = refused(write_safetensors(tmp_path / "other.safetensors", names))

    assert words in message
    assert hint


def test_a_base_that_was_saved_under_torch_compile_is_refused(tmp_path: Path) -> None:
    names = [name.replace("diffusion_model.", "diffusion_model._orig_mod.") for name in SDXL_TENSORS]
    message, hint = refused(write_safetensors(tmp_path / "base.safetensors", names))

    assert "was trained with torch_compile, and nothing reads its names" in message
    assert "model.diffusion_model._orig_mod." in message
    assert hint == "give --model an SDXL checkpoint, or train it again with --set torch_compile=false"


def test_an_inpainting_model_is_told_by_its_9_channels(tmp_path: Path) -> None:
    header = {name: tensor() for name in SDXL_TENSORS}
    header[SDXL_TENSORS[0]] = tensor(shape=(320, 9, 3, 3))

    file = write_header(tmp_path / "a.safetensors", header, bytes(2))
    assert "is an SDXL inpainting model" in refused(file)[0]
    assert "--set train_inpainting=true --set cache_latents=false" in refused(file)[1]
    assert checkpoint.require_sdxl(str(file), inpainting=True)
    assert checkpoint.takes_masks(str(file))

    header[SDXL_TENSORS[0]] = tensor(shape=(320, 4, 3, 3))
    plain = write_header(tmp_path / "b.safetensors", header, bytes(2))
    assert checkpoint.require_sdxl(str(plain))
    assert (checkpoint.takes_masks(str(plain)), checkpoint.takes_masks("me/model")) == (False, None)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 6938078334\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><html>Sign in</html>", "is a web page"),
        (b"\n<html>", "is a web page"),
        (b'{"error":"Unauthorized"}', "is a web page"),
        (b"PK\x03\x04" + bytes(60), "is a zip or a .ckpt by another name"),
        (b"", "is not a safetensors file, or its download is broken"),
        (b"\0" * 8, "is not a safetensors file"),
        (b"\xff" * 64, "is not a safetensors file"),
        (struct.pack("<Q", 2**63) + b"{}", "is not a safetensors file"),
        (struct.pack("<Q", checkpoint.LARGEST_HEADER) + b"{}", "is not a safetensors file"),
    ],
)
def test_a_file_that_is_something_else_is_called_so(tmp_path: Path, start: bytes, words: str) -> None:
    path = tmp_path / "base.safetensors"
    path.write_bytes(start)

    message, hint = refused(path)

    assert words in message
    assert hint


@pytest.mark.parametrize(
    "header",
    [
        [],
        "text",
        None,
        {"a": []},
        {"a": {}},
        {"a": None},
        {"a": tensor(offsets=[])},
        {"a": tensor(offsets=[0])},
        {"a": tensor(offsets=[0, "2"])},
        {"a": tensor(offsets=[0, "two"])},
        {"a": tensor(offsets=None)},
        {"a": tensor(offsets=[-4, -2])},
        {"a": {"shape": "abc", "data_offsets": [0, 2]}},
        {"__metadata__": None},
        {"__metadata__": []},
        b'{"a": {"shape": [1], "data_offsets": [0, NaN]}}',
        b'{"a": {"shape": [1e999], "data_offsets": [0, 2]}}',
        b'{"a": {"shape": [1], "data_offsets": [0, 1e999]}}',
        b"{" * 200_000,
        b"[" * 200_000,
        b'{"a": ' * 200_000,
        b'{"a": "\xff"}',
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_header_that_is_broken_is_refused_in_words(tmp_path: Path, header: object) -> None:
    with pytest.raises(ModelError):
        checkpoint.require_sdxl(str(write_header(tmp_path / "base.safetensors", header, bytes(2))))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_or_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    for name in ("pipe.safetensors", "folder.safetensors"):
        with pytest.raises(ModelError, match="can't be read: not a plain file"):
            checkpoint.read_header(tmp_path / name)


def test_a_key_that_comes_twice_is_refused(tmp_path: Path) -> None:
    one = json.dumps(tensor())[1:-1]
    path = write_header(tmp_path / "a.safetensors", f'{{"a": {{{one}}}, "a": {{{one}}}}}'.encode(), bytes(2))

    with pytest.raises(ModelError):
        checkpoint.read_header(path)


def test_a_header_in_utf_16_is_refused(tmp_path: Path) -> None:
    path = write_header(tmp_path / "a.safetensors", json.dumps({"a": tensor()}).encode("utf-16-le"), bytes(2))

    with pytest.raises(ModelError):
        checkpoint.read_header(path)


def test_a_download_that_did_not_finish_says_how_much_is_there(base: Path) -> None:
    whole = base.read_bytes()
    base.write_bytes(whole[:-3])

    message, hint = refused(base)

    assert message == f"{base} is cut off: {len(whole) - 3:,} bytes of {len(whole):,}"
    assert hint == "its download did not finish: download it again"


def test_a_download_that_was_glued_together_is_told(base: Path) -> None:
    base.write_bytes(base.read_bytes() + bytes(1000))

    assert refused(base)[0] == f"{base} has 1,000 bytes too many: its download is broken"


@settings(max_examples=60)
@given(st.data())
def test_a_file_cut_off_anywhere_is_never_taken(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = write_safetensors(tmp_path_factory.mktemp("cut") / "base.safetensors")
    content = whole.read_bytes()
    whole.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])

    with pytest.raises(ModelError):
        checkpoint.require_sdxl(str(whole))


@settings(max_examples=100)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, with_length: bool
) -> None:
    path = tmp_path_factory.mktemp("any") / "base.safetensors"
    path.write_bytes((struct.pack("<Q", len(content)) if with_length else b"") + content)

    with pytest.raises(ModelError):
        checkpoint.require_sdxl(str(path))


def test_no_pickle_is_ever_loaded(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "harm"),)

    path = tmp_path / "base.ckpt"
    path.write_bytes(pickle.dumps(Harm()))

    assert checkpoint.require_sdxl(str(path)) == str(path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", ["base.zip", "base.gguf", "base.bin", "base.pt", "base", "base.safetensors.part"])
def test_a_file_of_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / name, "w"):
        pass

    assert refused(tmp_path / name)[0] == f"{tmp_path / name} is neither .safetensors nor .ckpt"


def test_the_suffix_sft_which_sd_scripts_would_unpickle_is_to_be_renamed(base: Path) -> None:
    base = base.rename(base.with_suffix(".sft"))

    assert refused(base)[1] == "rename it to .safetensors"


# --- links


@pytest.mark.parametrize("absolute", [True, False])
def test_a_linked_checkpoint_is_named_by_its_own_path(base: Path, absolute: bool) -> None:
    (base.parent / "links").mkdir()
    link = base.parent / "links" / "model.safetensors"
    link.symlink_to(base if absolute else Path("..") / base.name)

    assert checkpoint.require_sdxl(str(link)) == str(base)


def hub_cache(base: Path) -> Path:
    """A file in a cache as the hub's library lays it out: a link with a name, which leads to a checksum."""
    blobs, snapshot = base.parent / "blobs", base.parent / "snapshots" / "1f2e"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    base.rename(blobs / "31e35c80")
    (snapshot / "base.safetensors").symlink_to("../../blobs/31e35c80")
    return snapshot / "base.safetensors"


def test_a_file_of_the_hubs_cache_which_sd_scripts_would_unpickle_is_told(base: Path) -> None:
    link = hub_cache(base)

    message, hint = refused(link)

    assert message == f"{link} is a link to a file without the suffix .safetensors, which sd-scripts can't load"
    assert f"ln -s {link} base.safetensors" in hint


def test_a_link_to_that_link_as_the_hint_says_can_be_loaded(base: Path) -> None:
    second = base.parent / "second.safetensors"
    second.symlink_to(hub_cache(base))

    assert checkpoint.require_sdxl(str(second)) == str(second)


def test_a_broken_link_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "base.safetensors").symlink_to("absent")

    assert refused(tmp_path / "base.safetensors")[0] == f"no model at {tmp_path / 'base.safetensors'}"


# --- diffusers folders


@pytest.fixture
def diffusers(tmp_path: Path) -> Path:
    folder = tmp_path / "sdxl"
    for part in ("unet", "text_encoder", "text_encoder_2", "vae", "tokenizer_2", "scheduler"):
        (folder / part).mkdir(parents=True)
    for part in ("unet", "vae"):
        write_safetensors(folder / part / "diffusion_pytorch_model.safetensors", ("x",))
    for part in ("text_encoder", "text_encoder_2"):
        (folder / part / "pytorch_model.bin").touch()
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}', encoding="utf-8")
    return folder


def test_a_diffusers_folder_is_taken_also_with_a_slash_at_its_end(diffusers: Path) -> None:
    assert checkpoint.require_sdxl(f"{diffusers}/") == str(diffusers)


def test_a_diffusers_folder_without_its_unet_is_incomplete(diffusers: Path) -> None:
    (diffusers / "unet").rename(diffusers / "unet.old")

    assert refused(diffusers)[0] == f"{diffusers} is incomplete: no folder unet"


def test_a_diffusers_folder_without_weights_is_told(diffusers: Path) -> None:
    (diffusers / "vae" / "diffusion_pytorch_model.safetensors").unlink()

    assert refused(diffusers)[0] == f"{diffusers / 'vae'} holds no weights"


def test_a_diffusers_folder_cloned_without_git_lfs_is_told(diffusers: Path) -> None:
    weights = diffusers / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")

    assert refused(diffusers)[0].startswith(f"{weights} is a Git LFS pointer")


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ('{"_class_name": "StableDiffusionPipeline"}', "holds a StableDiffusionPipeline, not SDXL"),
        ("{}", "holds a nameless pipeline, not SDXL"),
        ("[]", "model_index.json is broken"),
        ("{", "model_index.json is broken"),
        ("[" * 200_000, "model_index.json is broken"),
        ("\udcff", "model_index.json is broken"),
    ],
)
def test_a_folder_of_another_pipeline_is_refused(diffusers: Path, index: str, words: str) -> None:
    (diffusers / "model_index.json").write_text(index, encoding="utf-8", errors="surrogateescape")

    assert words in refused(diffusers)[0]


def test_a_folder_of_something_else_is_no_model(tmp_path: Path) -> None:
    assert refused(tmp_path)[0] == f"{tmp_path} is not a diffusers folder: it has no model_index.json"


# --- names of the hub, and what looks like them


def test_a_hub_id_is_taken_as_it_is() -> None:
    assert checkpoint.require_sdxl(checkpoint.SDXL_BASE) == checkpoint.SDXL_BASE
    assert checkpoint.require_sdxl("cagliostrolab/animagine-xl-3.1") == "cagliostrolab/animagine-xl-3.1"


def test_a_missing_file_in_a_folder_that_is_there_is_not_asked_of_the_hub(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(base.parent)
    (base.parent / "models").mkdir()
    base.rename(base.parent / "models" / "sdxl.safetensors")

    assert refused("models/sdxl") == ("no model at models/sdxl", "its folder has sdxl.safetensors")


def test_the_standard_model_is_not_hidden_by_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stabilityai").mkdir()

    assert checkpoint.require_sdxl(checkpoint.SDXL_BASE) == checkpoint.SDXL_BASE


@pytest.mark.parametrize(
    "model",
    ["absent", "absent.safetensors", "a/b.safetensors", "a\\b", "C:\\models\\sdxl.safetensors", "a/b/c", "", "nul\0",
     "~nobody-of-this-name/x.safetensors", "-a/b", "../a/b", f"{checkpoint.SDXL_BASE}/"],
)  # fmt: skip
def test_what_is_neither_there_nor_a_hub_id_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ModelError):
        checkpoint.require_sdxl(model)


def test_an_address_is_not_a_model() -> None:
    message, hint = refused("https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0")

    assert message.endswith("is an address")
    assert checkpoint.SDXL_BASE in hint


# --- the VAE


def test_a_vae_file_is_taken_and_its_link_is_not_followed(tmp_path: Path) -> None:
    blob = write_safetensors(tmp_path / "235745af", ("encoder.conv_in.weight", "decoder.conv_in.weight"))
    (tmp_path / "vae.safetensors").symlink_to(blob.name)

    assert checkpoint.require_vae(str(tmp_path / "vae.safetensors")) == str(tmp_path / "vae.safetensors")


def test_the_vae_of_a_whole_checkpoint_is_taken(base: Path) -> None:
    assert checkpoint.require_vae(str(base)) == str(base)


@pytest.mark.parametrize("place", ["config.json", "vae/config.json"])
def test_a_diffusers_vae_is_taken(tmp_path: Path, place: str) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / place).write_text("{}", encoding="utf-8")

    assert checkpoint.require_vae(str(tmp_path)) == str(tmp_path)


def test_a_vae_may_come_from_the_hub() -> None:
    assert checkpoint.require_vae("madebyollin/sdxl-vae-fp16-fix") == "madebyollin/sdxl-vae-fp16-fix"


@pytest.mark.parametrize(
    ("name", "tensors", "words"),
    [
        ("lora.safetensors", ("lora_unet_x.alpha",), "is not a VAE"),
        ("vae.safetensors", ("encoder.down_blocks.0.x",), "is a VAE in diffusers' form"),
        ("vae.gguf", (), "is not a VAE file"),
        ("vae.sft", ("encoder.conv_in.weight",), "is not a VAE file"),
    ],
)
def test_what_is_no_vae_that_sd_scripts_reads_is_refused(
    tmp_path: Path, name: str, tensors: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        checkpoint.require_vae(str(write_safetensors(tmp_path / name, tensors)))


def test_a_vae_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no VAE at absent\.pt"):
        checkpoint.require_vae("absent.pt")
    with pytest.raises(ModelError, match=r"has no config\.json"):
        checkpoint.require_vae(str(tmp_path))


@pytest.mark.parametrize(
    "header",
    [
        {"w": tensor(shape=(10**400,))},
        {"w": tensor(shape=(-1,))},
        {"w": tensor(offsets=(0, 10**400))},
        {"w": tensor(offsets=(0, float("inf")))},
        [{"w": tensor()}],
        "[" * 100_000,
    ],
    ids=["a huge side", "a negative side", "a huge offset", "an offset without end", "a list", "depth"],
)
def test_figures_that_no_tensor_has_are_refused_in_words(tmp_path: Path, header: object) -> None:
    content = header.encode() if isinstance(header, str) else header

    with pytest.raises(ModelError, match="is not a safetensors file"):
        checkpoint.read_header(write_header(tmp_path / "base.safetensors", content, bytes(2)))


def test_a_header_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "base.safetensors"
    path.write_bytes((90_000_000).to_bytes(8, "little"))
    os.truncate(path, 100_000_000)

    with pytest.raises(ModelError, match="is not a safetensors file"):
        checkpoint.read_header(path)


@pytest.mark.parametrize("name", ["x" * 300, "a/" + "x" * 300 + "/b", "a\0b", "\ud800"])
def test_a_name_that_no_file_can_have_is_no_model(name: str) -> None:
    assert "no model at" in refused(name)[0]
    with pytest.raises(ModelError, match="no VAE at"):
        checkpoint.require_vae(name)


def test_a_network_that_records_the_captions_of_a_large_dataset_is_read(tmp_path: Path) -> None:
    """sd-scripts counts each caption of a dataset in the header: 150,000 sentences take 20 MB."""
    captions = {"cats": {f'a [cat], "number": {number}, ' + "that sits on a mat " * 5: 1 for number in range(150_000)}}
    header = {"__metadata__": {"ss_tag_frequency": json.dumps(captions)}, "a": tensor()}
    path = write_header(tmp_path / "a.safetensors", header, bytes(2))

    assert path.stat().st_size > 16 << 20
    assert json.loads(checkpoint.read_header(path).metadata["ss_tag_frequency"]) == captions


@pytest.mark.parametrize("inner", [b'"n%d":1,', b"[[]],"], ids=["names", "lists"])
def test_a_header_of_masses_is_refused_before_it_is_parsed(tmp_path: Path, inner: bytes) -> None:
    parts = b"".join(inner % number if b"%" in inner else inner for number in range(1_100_000))
    text = b'{"a":{' + parts + b'"z":1}}' if b":" in inner else b'{"a":[' + parts + b"1]}"
    path = write_header(tmp_path / "a.safetensors", text, bytes(2))

    tracemalloc.start()
    with pytest.raises(ModelError):
        checkpoint.read_header(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 4 * len(text)


def pickled(path: Path, *names: str, is_zip: bool = True) -> Path:
    """A .ckpt with these names, as torch writes it now or did before 1.6."""
    state = pickle.dumps({"state_dict": dict.fromkeys(names, 0), "global_step": 1}, 2)
    if is_zip:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", state)
    else:
        path.write_bytes(b"".join(pickle.dumps(part, 2) for part in (1, 2, {})) + state + pickle.dumps([], 2))
    return path


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cond_stage_model.transformer.text_model.x", "an SD 1.x model"),
        ("cond_stage_model.model.x", "an SD 2.x model"),
        ("model.diffusion_model.joint_blocks.0.x", "an SD3 model"),
    ],
)
def test_another_model_as_ckpt_is_refused(tmp_path: Path, name: str, words: str, is_zip: bool) -> None:
    path = pickled(tmp_path / "base.ckpt", "model.diffusion_model.input_blocks.0.0.weight", name, is_zip=is_zip)

    with pytest.raises(ModelError, match=words):
        checkpoint.require_sdxl(str(path))


@pytest.mark.parametrize("is_zip", [True, False])
def test_sdxl_as_ckpt_is_let_through(tmp_path: Path, is_zip: bool) -> None:
    path = pickled(tmp_path / "base.ckpt", *(f"{prefix}x" for prefix, _ in checkpoint.PARTS), is_zip=is_zip)

    assert checkpoint.require_sdxl(str(path)) == os.path.realpath(path)


@pytest.mark.parametrize("content", [b"\x80\x02", b"\x80\x02nothing", b"\x80\x04."])
def test_a_ckpt_that_can_not_be_followed_is_left_to_the_trainer(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "base.ckpt"
    path.write_bytes(content)

    assert checkpoint.require_sdxl(str(path)) == os.path.realpath(path)
