"""Names that were planted wherever a run, a file or a picture can hold them are in no byte of a share."""

from __future__ import annotations

import base64
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import shared_runs
from PIL import Image, PngImagePlugin

from sdxl_train_cli.lora_files import traces
from sdxl_train_cli.lora_files.traces import KnownNames
from sdxl_train_cli.sharing import delivery, share_plan, subject
from sdxl_train_cli.sharing.share_plan import Share, ShareChoices

USER, HOST = "planteduser", "plantedhost"
PATH = f"/home/{USER}/secretplace/cats"
WINDOWS = f"C:\\Users\\{USER}\\secretplace"
MAIL = "planted.person@secretmail.org"
TOKEN = "hf_" + "plantedtoken" + "Z9" * 8
WORDS = (USER, HOST, "secretplace", "secretmail", "plantedtoken")
EVERYTHING = f"cat by {USER}, made on {HOST}, from {PATH}, and {WINDOWS}, ask {MAIL}, with {TOKEN}"


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "names_here", lambda: KnownNames(frozenset({USER}), frozenset({HOST})))


def picture(path: Path) -> Path:
    """A PNG with names in every kind of chunk, and in EXIF."""
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", f"a cat, {EVERYTHING}\nNegative prompt: {EVERYTHING}\nSteps: 20, Sampler: Euler, "
                  f"CFG scale: 5, Seed: 3, Size: 64x64, Model: {PATH}, Version: {HOST}")  # fmt: skip
    info.add_text("Software", EVERYTHING)
    info.add_itxt("Comment", EVERYTHING, lang="en", tkey=USER)
    info.add_text("packed", EVERYTHING, zip=True)
    info.add_itxt("XML:com.adobe.xmp", f"<x:xmpmeta><creator>{EVERYTHING}</creator></x:xmpmeta>", zip=True)
    exif = Image.Exif()
    exif[0x013B] = USER
    exif[0x010E] = EVERYTHING
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + EVERYTHING.encode()
    Image.effect_noise((64, 64), 50).convert("RGB").save(path, pnginfo=info, exif=exif)
    return path


def planted_run(folder: Path) -> Path:
    options = ("network_args", "optimizer_args", "training_comment", "metadata_author", "metadata_description",
               "network_module", "optimizer_type", "lr_scheduler", "resolution")  # fmt: skip
    settings: dict[str, object] = {name: {"value": EVERYTHING, "origin": f"{PATH}/a.yaml:3"} for name in options}
    inputs: dict[str, object] = {
        "preset": f"{PATH}/mine.yaml", "model": f"{PATH}/base.safetensors", "data": PATH, "output": PATH,
        "trigger": f"ohwx cat, {EVERYTHING}", "vae": f"{PATH}/vae.safetensors",
    }  # fmt: skip
    shared_runs.keep(folder, settings=settings, inputs=inputs)
    (folder / "prompts.txt").write_text(f"ohwx cat, {EVERYTHING} --n {EVERYTHING}\nohwx cat\n", encoding="utf-8")
    for path in (folder / "sample").iterdir():
        picture(path)
    deep = {EVERYTHING: 2, f"{USER}": 1, "garden": 5}
    shared_runs.lora(
        folder / "cat.safetensors",
        ss_dataset_dirs=json.dumps({f"10_{USER}": {"n_repeats": 10, "img_count": 3}}),
        ss_tag_frequency=json.dumps({f"10_{USER}": deep}),
        ss_sd_model_name=f"{PATH}/base.safetensors", ss_output_name=PATH, ss_training_comment=EVERYTHING,
        ss_network_args=json.dumps({"note": EVERYTHING}),
        ss_datasets=json.dumps([{"resolution": [64, 64], "subsets": [{"image_dir": PATH}], "tag_frequency": deep}]),
        unheard=EVERYTHING, **{USER: "x"},
        **{"modelspec.author": USER, "modelspec.description": EVERYTHING, "modelspec.title": EVERYTHING,
           "modelspec.thumbnail": "data:image/png;base64," + base64.b64encode(EVERYTHING.encode()).decode()},
    )  # fmt: skip
    return folder


def decoded(content: bytes) -> Iterator[bytes]:
    """The bytes, and what their compressed parts and encodings hold."""
    yield content
    yield content.replace(b"\0", b"")  # UTF-16
    if content.startswith(b"\x89PNG"):
        at = 8
        while at < len(content):
            size, kind = struct.unpack(">I4s", content[at : at + 8])
            chunk = content[at + 8 : at + 8 + size]
            yield kind + chunk
            if kind in {b"zTXt", b"iTXt", b"iCCP"}:
                for start in range(min(len(chunk), 200)):
                    try:
                        yield zlib.decompress(chunk[start:])
                    except zlib.error:
                        continue
            at += 12 + size
    if content.startswith(b"PK"):
        return
    for part in content.split(b'"'):
        if len(part) > 40 and b"," in part and part.startswith(b"data:"):
            yield base64.b64decode(part.partition(b",")[2] + b"==")


def require_none(name: str, content: bytes) -> None:
    for found in (name.encode(), *decoded(content)):
        for word in WORDS:
            assert word.encode() not in found.lower(), f"{word} in {name}"


def plan(run: Path, **choices: object) -> Share:
    found = subject.find(str(run), run.parent, None)
    return share_plan.plan(found, ShareChoices(for_civitai=True, with_tags=True, **choices))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["run", "file", "given"])
def test_no_planted_name_is_in_any_byte_of_a_share(tmp_path: Path, kind: str) -> None:
    run = planted_run(tmp_path / "output" / "cat")
    own: dict[str, object] = {
        "description": EVERYTHING, "title": EVERYTHING, "trigger": f"ohwx cat, {MAIL}",
        "previews": (picture(tmp_path / f"{USER}.png"),),
    }  # fmt: skip
    if kind == "file":
        run = (run / "cat.safetensors").rename(tmp_path / "cat.safetensors")
    share = plan(run, **(own if kind == "given" else {}))
    delivery.write(share, tmp_path / "made" / "share")
    delivery.write(share, tmp_path / "made" / "share.zip")

    for path in (tmp_path / "made").rglob("*"):
        if path.is_file():
            require_none(path.relative_to(tmp_path / "made").as_posix(), path.read_bytes())
    with zipfile.ZipFile(tmp_path / "made" / "share.zip") as packed:
        for entry in packed.namelist():
            require_none(entry, packed.read(entry))


def test_what_was_left_out_is_listed_without_telling_it(tmp_path: Path) -> None:
    share = plan(planted_run(tmp_path / "output" / "cat"))

    told = {f"{each.where}: {each.why}" for each in share.left_out}
    assert "part of the trigger: a user's name" in told
    assert "part of the prompt of previews/1.png: an e-mail address" in told
    assert "EXIF of the picture for previews/1.png: metadata of pictures" in told
    assert "XMP of the picture for previews/1.png: metadata of pictures" in told
    assert any(line.startswith("metadata ss_training_comment: ") for line in told)
    for line in told:
        assert not any(word in line.lower() for word in WORDS)


def test_the_trigger_and_the_prompts_keep_what_is_not_private(tmp_path: Path) -> None:
    share = plan(planted_run(tmp_path / "output" / "cat"))

    assert share.facts.trigger == "ohwx cat"
    assert share.facts.previews[0].drawn is not None
    assert share.facts.previews[0].drawn.prompt == "ohwx cat"
    assert ("garden", 5) in share.facts.training.data.tags


def test_a_trigger_that_is_the_users_name_stays_and_is_told(tmp_path: Path) -> None:
    run = shared_runs.keep(tmp_path / "output" / "cat", inputs={"trigger": f"{USER} woman"})
    share = plan(run)

    assert share.facts.trigger == f"{USER} woman"
    assert any("stands in the trigger" in str(problem) for problem in share.warnings)
