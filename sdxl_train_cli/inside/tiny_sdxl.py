"""Make an SDXL checkpoint of random weights, its two tokenizers and a few pictures, to rehearse a training with.

    python tiny_sdxl.py --output FOLDER        run in the sd-scripts checkout, by the training environment's Python

    FOLDER/model.safetensors      the original single-file SDXL layout, bfloat16; trains under scaled.py
    FOLDER/tokenizers/            for --tokenizer_cache_dir, so that nothing is fetched
    FOLDER/pictures/              small PNGs of several shapes, each with a caption

Prints {"model", "tokenizers", "pictures", "bytes"}: three paths and the size of the model.

`--full-size` gives SDXL's true shapes (6.9 GB), which train without scaled.py. `--without-weights` needs neither torch
nor sd-scripts: its model has the names by which SDXL is told, and next to nothing under them.

Relied upon: sd-scripts' library/sdxl_original_unet.py, library/sdxl_model_util.py (the text encoders' shapes and
convert_text_encoder_2_state_dict_to_sdxl), library/model_util.py (create_vae_diffusers_config, convert_vae_state_dict),
library/strategy_sdxl.py (where tokenizers are looked for).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import scaled

Shapes = dict[str, tuple[int, ...]]
Colour = tuple[int, int, int]

# What sd-scripts makes of the two names when it looks into --tokenizer_cache_dir.
TOKENIZERS = ("openai_clip-vit-large-patch14", "laion_CLIP-ViT-bigG-14-laion2B-39B-b160k")
# CLIP's window; --max_token_length 225 is three of them.
WINDOW = 77

# Names by which SDXL is told from its kin, with shapes as small as a name allows.
TELLING: Shapes = {
    "model.diffusion_model.input_blocks.0.0.weight": (1, 4, 3, 3),
    "model.diffusion_model.label_emb.0.0.weight": (1, 2816),
    "model.diffusion_model.middle_block.1.transformer_blocks.9.attn2.to_k.weight": (1, 2048),
    "model.diffusion_model.out.2.weight": (4, 1, 3, 3),
    "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight": (1, 768),
    "conditioner.embedders.1.model.ln_final.weight": (1280,),
    "conditioner.embedders.1.model.token_embedding.weight": (1, 1280),
    "conditioner.embedders.1.model.transformer.resblocks.31.ln_2.weight": (1280,),
    "first_stage_model.encoder.conv_in.weight": (1, 3, 3, 3),
}

COLOURS: dict[str, Colour] = {
    "red": (200, 40, 40),
    "green": (40, 160, 60),
    "blue": (50, 80, 200),
    "yellow": (230, 200, 50),
    "black": (25, 25, 25),
    "violet": (130, 60, 170),
    "orange": (235, 130, 40),
}
SIZES = ((96, 96), (128, 80), (80, 128), (112, 88), (88, 112), (144, 72))
FIGURES: dict[str, Callable[[float, float], float]] = {
    # Each is below zero inside the figure, for a picture that spans -1, -1 (top left) to 1, 1.
    "circle": lambda x, y: math.hypot(x, y) - 0.7,
    "square": lambda x, y: max(abs(x), abs(y)) - 0.6,
    "diamond": lambda x, y: abs(x) + abs(y) - 0.8,
    "cross": lambda x, y: min(abs(x), abs(y)) - 0.25,
    "ring": lambda x, y: abs(math.hypot(x, y) - 0.6) - 0.15,
}


def main() -> int:
    """Write everything under the output folder and print where it stands."""
    parser = argparse.ArgumentParser(prog="tiny_sdxl.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full-size", action="store_true", help="Full-size SDXL, 6.9 GB")
    size.add_argument("--without-weights", action="store_true", help="only the names that tell SDXL; needs no torch")
    parser.add_argument("--pictures", type=int, default=6, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    sys.path[0] = str(Path.cwd())  # the checkout: the files beside this one must not stand for upstream's modules
    try:
        with contextlib.redirect_stdout(sys.stderr):
            made = make(asked.output.resolve(), weights(asked), asked.pictures, asked.seed)
    except scaled.CannotScaleError as error:
        print(error, file=sys.stderr)
        return scaled.CANNOT_SCALE
    except Exception as error:  # noqa: BLE001  torch, upstream and the disk can each fail in their own way
        print(" ".join(f"{type(error).__name__}: {error}".split()), file=sys.stderr)
        return 1
    print(json.dumps(made))
    return 0


def weights(asked: argparse.Namespace) -> tuple[Shapes, Callable[[str, tuple[int, ...]], bytes]]:
    """Return the shapes of the model that was asked for, and what fills each tensor."""
    if asked.without_weights:
        return TELLING, lambda _name, shape: bytes(2 * math.prod(shape))
    if not asked.full_size:
        scaled.scale()
    return real_shapes(), random_values(asked.seed)


def make(
    folder: Path, model: tuple[Shapes, Callable[[str, tuple[int, ...]], bytes]], pictures: int, seed: int
) -> dict[str, str | int]:
    """Write model, tokenizers and pictures."""
    shapes, fill = model
    file = folder / "model.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    with unfinished.open("wb") as stream:
        write_safetensors(stream, shapes, fill)
    unfinished.replace(file)
    for name in TOKENIZERS:
        write_tokenizer(folder / "tokenizers" / name)
    write_pictures(folder / "pictures", pictures, seed)
    return {
        "model": str(file),
        "tokenizers": str(folder / "tokenizers"),
        "pictures": str(folder / "pictures"),
        "bytes": file.stat().st_size,
    }


def real_shapes() -> Shapes:
    """Ask sd-scripts' own modules for every tensor of a checkpoint, in the names of the original layout.

    Built on torch's meta device, where a module has shapes and no memory.
    """
    import torch  # noqa: PLC0415  a rehearsal without weights has no torch
    from diffusers import AutoencoderKL  # noqa: PLC0415  the same
    from transformers import CLIPTextModel, CLIPTextModelWithProjection  # noqa: PLC0415  the same

    models = scaled.module("library.sdxl_model_util")
    autoencoder = scaled.module("library.model_util")
    with torch.device("meta"):
        unet = scaled.module("library.sdxl_original_unet").SdxlUNet2DConditionModel()
        first = CLIPTextModel(models.CLIPTextConfig(**text_encoder(768, layers=12, heads=12, act="quick_gelu")))
        second = CLIPTextModelWithProjection(
            models.CLIPTextConfig(**text_encoder(1280, layers=32, heads=20, act="gelu"))
        )
        vae = AutoencoderKL(**autoencoder.create_vae_diffusers_config())
        logit_scale = torch.empty(())
    parts = {
        "model.diffusion_model.": unet.state_dict(),
        "conditioner.embedders.0.transformer.": first.state_dict(),
        "conditioner.embedders.1.model.": models.convert_text_encoder_2_state_dict_to_sdxl(
            second.state_dict(), logit_scale
        ),
        "first_stage_model.": autoencoder.convert_vae_state_dict(vae.state_dict()),
    }
    return {prefix + name: tuple(value.shape) for prefix, part in parts.items() for name, value in part.items()}


def text_encoder(width: int, *, layers: int, heads: int, act: str) -> dict[str, Any]:
    """Describe one of SDXL's text encoders as sd-scripts does when it loads a checkpoint."""
    return {
        "vocab_size": 49408,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": WINDOW,
        "hidden_act": act,
        "projection_dim": width,
    }


def random_values(seed: int) -> Callable[[str, tuple[int, ...]], bytes]:
    """Return a function that fills a tensor so that signals and gradients keep their size on the way through."""
    import torch  # noqa: PLC0415  a rehearsal without weights has no torch

    device = "cuda" if torch.cuda.is_available() else "cpu"  # the full size in seconds instead of minutes
    generator = torch.Generator(device).manual_seed(seed)

    def fill(name: str, shape: tuple[int, ...]) -> memoryview:
        values = torch.empty(shape, device=device)  # drawn in float32, three times as fast as in bfloat16
        if len(shape) > 1:
            values.normal_(0, 0.02 if "embedding" in name else math.prod(shape[1:]) ** -0.5, generator=generator)
        elif name.endswith(("weight", "logit_scale")):  # of vectors, only the weights of norms are called so
            values.fill_(1)
        else:  # not zero, so that a tensor that is all zero after training always tells of a fault
            values.normal_(0, 0.02, generator=generator)
        return values.bfloat16().reshape(-1).view(torch.uint8).cpu().numpy().data

    return fill


def write_safetensors(stream: BinaryIO, shapes: Shapes, fill: Callable[[str, tuple[int, ...]], bytes]) -> None:
    """Write bfloat16 tensors one after the other, holding one at a time in memory."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", "description": "random weights, for a smoke test"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the data begin on a multiple of 8
    stream.write(struct.pack("<Q", len(text)) + text)
    for name, shape in shapes.items():
        stream.write(fill(name, shape))


def write_tokenizer(folder: Path) -> None:
    """Write a CLIP tokenizer that spells every word, for transformers' CLIPTokenizer.

    Its ids fit a vocabulary of scaled.VOCABULARY and SDXL's own alike. As in CLIP's the end is the highest id, and 0,
    with which sd-scripts pads for the second text encoder, is an exclamation mark.
    """
    folder.mkdir(parents=True, exist_ok=True)
    letters = list(byte_letters())
    start, end = "<|startoftext|>", "<|endoftext|>"
    tokens = [*letters, *(letter + "</w>" for letter in letters), start, end]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    special = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": end}
    settings = {
        **special,
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": WINDOW,
        "do_lower_case": True,
        "errors": "replace",
    }
    write_json(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    write_json(folder / "special_tokens_map.json", special)
    write_json(folder / "tokenizer_config.json", settings)


def byte_letters() -> Iterator[str]:
    """Yield the letter by which CLIP writes each byte: printable ones as themselves, the rest from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    yield from map(chr, printable)
    yield from map(chr, range(256, 256 + 256 - len(printable)))


def write_json(path: Path, content: object) -> None:
    """Write JSON as text that any reader of ASCII can read."""
    path.write_text(json.dumps(content), encoding="utf-8")


def write_pictures(folder: Path, number: int, seed: int) -> None:
    """Write pictures that differ in size, figure and colour, each with a caption beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    colours, figures = list(COLOURS), list(FIGURES)
    for count in range(number):
        turn = count + seed
        figure, colour = figures[turn % len(figures)], colours[turn % len(colours)]
        ground = colours[(turn + 1 + turn // len(colours) % (len(colours) - 1)) % len(colours)]
        width, height = SIZES[turn % len(SIZES)]
        rows = drawing(width, height, FIGURES[figure], (COLOURS[ground], COLOURS[colour]))
        (folder / f"{count:03d}.png").write_bytes(png(width, height, rows))
        caption = f"a {colour} {figure} on a {ground} ground\n"
        (folder / f"{count:03d}.txt").write_text(caption, encoding="utf-8")


def drawing(
    width: int, height: int, figure: Callable[[float, float], float], colours: tuple[Colour, Colour]
) -> Iterator[bytes]:
    """Yield the picture of one figure row by row, red, green and blue for each pixel."""
    least = min(width, height)
    for row in range(height):
        y = (2 * row - height) / least
        yield b"".join(bytes(colours[figure((2 * column - width) / least, y) < 0]) for column in range(width))


def png(width: int, height: int, rows: Iterable[bytes]) -> bytes:
    """Pack rows of 8-bit RGB into a PNG file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB, no interlacing
    pixels = b"".join(b"\0" + row for row in rows)  # 0: this row is not filtered
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in chunks)


if __name__ == "__main__":
    sys.exit(main())
