"""Previews carry what image programs read, and nothing else of the picture that they were made of."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import shared_runs
import tensor_files
from PIL import Image, PngImagePlugin

from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.ranking import grid as grids
from sdxl_train_cli.sdscripts import results
from sdxl_train_cli.sharing import image_programs, share_plan, subject
from sdxl_train_cli.sharing.previews import Preview
from sdxl_train_cli.sharing.share_plan import ShareChoices


def shown(run: Path, **choices: object) -> tuple[Preview, ...]:
    planned = share_plan.plan(subject.find(str(run), run.parent, None), ShareChoices(**choices))  # type: ignore[arg-type]
    return planned.facts.previews


def opened(preview: Preview) -> Image.Image:
    return Image.open(io.BytesIO(preview.content))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return shared_runs.keep(tmp_path / "output" / "cat")


def test_a1111_reads_prompt_settings_and_the_file_by_its_hash(run: Path) -> None:
    share = share_plan.plan(subject.find(str(run), run.parent, None), ShareChoices())

    told = opened(share.facts.previews[0]).info["parameters"]

    settings = "Steps: 24, Sampler: Euler a, CFG scale: 6, Seed: 1000, Size: 64x96, Model: sd_xl_base_1.0"
    assert told.splitlines() == [
        "ohwx cat, garden, best quality <lora:cat:1>",
        "Negative prompt: lowres, blurry",
        f'{settings}, Lora hashes: "cat: {share.copy.hashes.auto_v3}", Version: sdxl-train',
    ]


def graph_of(run: Path, **choices: object) -> dict[str, Any]:
    graph: dict[str, Any] = json.loads(opened(shown(run, **choices)[0]).info["prompt"])
    return {node["class_type"]: node["inputs"] for node in graph.values()} | {"": graph}


def test_comfyui_gets_a_graph_that_loads_the_file_and_draws_the_same(run: Path) -> None:
    found = graph_of(run)
    graph = found[""]

    assert found["CheckpointLoaderSimple"] == {"ckpt_name": "sd_xl_base_1.0.safetensors"}
    lora = found["LoraLoader"]
    assert (lora["lora_name"], lora["strength_model"], lora["strength_clip"]) == ("cat.safetensors", 1.0, 1.0)
    drawn = found["KSampler"]
    assert {key: value for key, value in drawn.items() if not isinstance(value, list)} == {
        "seed": 1000, "steps": 24, "cfg": 6.0, "sampler_name": "euler_ancestral", "scheduler": "normal",
        "denoise": 1.0,
    }  # fmt: skip
    assert graph[drawn["positive"][0]]["inputs"]["text"] == "ohwx cat, garden, best quality"
    assert graph[drawn["negative"][0]]["inputs"]["text"] == "lowres, blurry"
    assert graph[drawn["model"][0]]["class_type"] == "LoraLoader"
    assert found["EmptyLatentImage"] == {"width": 64, "height": 96, "batch_size": 1}


def test_every_link_of_comfyuis_graphs_leads_from_an_output_to_an_input_of_its_type(run: Path) -> None:
    info = opened(shown(run)[0]).info
    page, server = json.loads(info["workflow"]), json.loads(info["prompt"])
    nodes = {node["id"]: node for node in page["nodes"]}
    for number, source, slot, target, at, kind in page["links"]:
        out, into = nodes[source]["outputs"][slot], nodes[target]["inputs"][at]
        assert kind == out["type"] == into["type"]
        assert number in out["links"]
        assert into["link"] == number
        assert server[str(target)]["inputs"][into["name"]] == [str(source), slot]
    assert len({node["id"] for node in page["nodes"]}) == len(page["nodes"])
    assert page["last_node_id"] == max(nodes)
    assert {node["type"] for node in page["nodes"]} == {node["class_type"] for node in server.values()}


COMFYS_NODES = {
    # ComfyUI's nodes.py: required inputs of INPUT_TYPES, in their order, and RETURN_TYPES
    "CheckpointLoaderSimple": (["ckpt_name"], ["MODEL", "CLIP", "VAE"]),
    "LoraLoader": (["model", "clip", "lora_name", "strength_model", "strength_clip"], ["MODEL", "CLIP"]),
    "CLIPTextEncode": (["text", "clip"], ["CONDITIONING"]),
    "EmptyLatentImage": (["width", "height", "batch_size"], ["LATENT"]),
    "KSampler": (
        ["model", "seed", "steps", "cfg", "sampler_name", "scheduler", "positive", "negative", "latent_image",
         "denoise"], ["LATENT"],
    ),
    "VAEDecode": (["samples", "vae"], ["IMAGE"]),
    "SaveImage": (["images", "filename_prefix"], []),
}  # fmt: skip


def test_the_graphs_nodes_have_the_inputs_and_outputs_that_comfyui_gives_them(run: Path) -> None:
    info = opened(shown(run)[0]).info
    for node in json.loads(info["prompt"]).values():
        assert sorted(node["inputs"]) == sorted(COMFYS_NODES[node["class_type"]][0])
    for node in json.loads(info["workflow"])["nodes"]:
        assert [each["name"] for each in node["outputs"]] == COMFYS_NODES[node["type"]][1]


def test_a_checkpoint_is_loaded_without_a_lora_and_an_embedding_by_its_name(tmp_path: Path) -> None:
    big = tmp_path / "big.safetensors"
    tensor_files.write(big, tensor_files.checkpoint())
    word = tensor_files.write(
        tmp_path / "mychar.safetensors",
        {"clip_l": tensor_files.numbers(2, 768), "clip_g": tensor_files.numbers(2, 1280)},
    )
    picture = tmp_path / "p.png"
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a castle\nSteps: 20, Sampler: Euler, CFG scale: 5, Seed: 3, Size: 64x64")
    Image.new("RGB", (64, 64)).save(picture, pnginfo=info)

    of_checkpoint, of_word = graph_of(big, previews=(picture,)), graph_of(word, previews=(picture,))

    assert "LoraLoader" not in of_checkpoint
    assert of_checkpoint["CheckpointLoaderSimple"] == {"ckpt_name": "big.safetensors"}
    assert of_word[""]["3"]["inputs"]["text"] == "embedding:mychar, a castle"
    told = opened(shown(word, previews=(picture,))[0]).info["parameters"]
    assert re.fullmatch(r'mychar, a castle\nSteps: .*, TI hashes: "mychar: [0-9a-f]{12}", Version: .*', told)
    told = opened(shown(big, previews=(picture,))[0]).info["parameters"]
    assert re.search(r"Model hash: [0-9a-f]{10}, Model: big,", told)


def save_a1111(path: Path, suffix: str, text: str) -> Path:
    picture, path = Image.effect_noise((32, 32), 50).convert("RGB"), path.with_suffix(suffix)
    if suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", text)
        picture.save(path, pnginfo=info)
    else:
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")
        picture.save(path, exif=exif.tobytes())
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_of_ones_own_keeps_its_prompt_and_loads_the_shared_file(
    run: Path, tmp_path: Path, suffix: str
) -> None:
    text = (
        "ohwx cat <lora:old-name:0.7>, beach\nNegative prompt: text\n"
        "Steps: 28, Sampler: DPM++ 2M, CFG scale: 5.5, Seed: 42, Size: 32x32, Model hash: abc, Model: other"
    )
    [preview] = shown(run, previews=(save_a1111(tmp_path / "mine", suffix, text),))

    told = opened(preview).info["parameters"].splitlines()

    assert told[0] == "ohwx cat, beach <lora:cat:0.7>"
    assert told[2].startswith("Steps: 28, Sampler: DPM++ 2M, CFG scale: 5.5, Seed: 42, Size: 32x32, Model: sd_xl_base")


def test_a_picture_of_comfyuis_keeps_its_prompt_too(run: Path, tmp_path: Path) -> None:
    first = shown(run)[0]
    path = tmp_path / "comfy.png"
    graph = opened(first).info["prompt"].replace('"strength_model":1.0', '"strength_model":0.6')
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", graph)
    opened(first).save(path, pnginfo=info)

    [again] = shown(run, previews=(path,))

    assert opened(again).info["parameters"] == opened(first).info["parameters"].replace(":1>", ":0.6>")


def test_a_picture_that_tells_nothing_gets_no_invented_prompt(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "plain.png"
    Image.new("RGB", (32, 32), "red").save(path)

    [preview] = shown(run, previews=(path,))

    assert opened(preview).info == {}
    assert preview.drawn is None


def test_a_prompt_file_that_was_changed_after_the_sample_tells_nothing_of_it(tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("a new prompt --d 5\n", encoding="utf-8")
    named = {"sample_prompts": {"value": str(own), "origin": "--set"}}
    run = shared_runs.keep(tmp_path / "output" / "cat", settings=named)

    os.utime(own, (1, 1))
    [told, _] = shown(run)
    assert told.drawn is not None
    assert (told.drawn.prompt, told.drawn.seed) == ("a new prompt", 5)
    os.utime(own, (4e9, 4e9))
    assert [each.drawn for each in shown(run)] == [None, None]


def test_pictures_that_were_drawn_with_the_file_itself_go_before_samples(run: Path) -> None:
    sha = results.weights_sha256(run / "cat.safetensors")
    words = ("a tower", "a lake")
    prompts = [grids.GridPrompt(words=one, width=64, height=64, steps=20, scale=5, seeds=(7, 8)) for one in words]
    final = grids.GridCheckpoint(file="cat.safetensors", moment="final", sha256=sha)
    grid = grids.lay_out({"sampler": "euler"}, [final], (0.6, 0.9), prompts)
    folder = grids.GridFolder(run)
    folder.write(grid)
    for at, cell in enumerate(grid.cells):
        Image.new("RGB", (64, 64), (10 * at, 0, 0)).save(folder.picture(cell))

    first, second = shown(run, strength=1.0)

    told = opened(first).info["parameters"].splitlines()
    assert told[0] == "a tower <lora:cat:0.9>"
    assert told[-1].startswith("Steps: 20, Sampler: Euler, CFG scale: 5, Seed: 7, Size: 64x64")
    assert second.drawn is not None
    assert (second.drawn.prompt, second.drawn.seed, second.drawn.strength) == ("a lake", 7, 0.9)
    assert opened(first).getpixel((0, 0)) == Image.open(folder.picture(grid.cells[8])).getpixel((0, 0))


def test_pixels_stay_as_they_were(run: Path) -> None:
    source = next((run / "sample").glob("*_000006_00_*"))

    assert opened(shown(run)[0]).tobytes() == Image.open(source).convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is none"), (b"<html>", "it is none"), (b"\x89PNG\r\n\x1a\n broken", "it is none"),
        (b"\xff\xd8\xff\xe0aaaa", "it is cut off or damaged"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_told_by_its_name(run: Path, tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)

    with pytest.raises(UsageError, match=rf"bad\.png can't be read as a picture: {why}$"):
        shown(run, previews=(path,))
    with pytest.raises(UsageError, match="no picture at"):
        shown(run, previews=(tmp_path / "none.png",))


def test_the_version_of_the_graph_is_the_pages() -> None:
    assert image_programs._table()["version"] == 0.4  # noqa: SLF001 - of a data file
