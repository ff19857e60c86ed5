"""Write networks as large as a real LoRA of SDXL for bench.py: `python scripts/bench_networks.py FOLDER COUNT`.

722 modules of dimension 32 in 16 bits, 167 MB, with random numbers; each file differs from the one before. Standard
library only.
"""

from __future__ import annotations

import json
import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

RANK = 32
NAME = "bench"
STEP = 100
_BLOCKS = {640: (("input_blocks_4_1", 2), ("input_blocks_5_1", 2), ("output_blocks_3_1", 2), ("output_blocks_4_1", 2),
                 ("output_blocks_5_1", 2)),
           1280: (("input_blocks_7_1", 10), ("input_blocks_8_1", 10), ("middle_block_1", 10),
                  ("output_blocks_0_1", 10), ("output_blocks_1_1", 10), ("output_blocks_2_1", 10))}  # fmt: skip
_CONTEXT, _NUMBERS = 2048, 1 << 20


def modules() -> Iterator[tuple[str, int, int]]:
    """Each adapted layer of SDXL's U-Net: name, inputs, outputs."""
    for width, places in _BLOCKS.items():
        for place, depth in places:
            for side in ("proj_in", "proj_out"):
                yield f"{place.rsplit('_', 1)[0]}_{place[-1]}_{side}", width, width
            for number in range(depth):
                block = f"{place}_transformer_blocks_{number}"
                for attention, context in (("attn1", width), ("attn2", _CONTEXT)):
                    yield f"{block}_{attention}_to_q", width, width
                    yield f"{block}_{attention}_to_k", context, width
                    yield f"{block}_{attention}_to_v", context, width
                    yield f"{block}_{attention}_to_out_0", width, width
                yield f"{block}_ff_net_0_proj", width, 8 * width
                yield f"{block}_ff_net_2", 4 * width, width


def header(step: int) -> tuple[bytes, int]:
    """The header, and how many bytes of numbers follow."""
    entries: dict[str, object] = {"__metadata__": {"ss_steps": str(step), "ss_output_name": NAME}}
    end = 0
    for name, inputs, outputs in modules():
        sides = {"lora_down.weight": [RANK, inputs], "lora_up.weight": [outputs, RANK]}
        for suffix, shape in sides.items():
            start, end = end, end + 2 * shape[0] * shape[1]
            entries[f"lora_unet_{name}.{suffix}"] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text, end


def main(folder: Path, count: int) -> int:
    """Write the files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = random.Random(0)  # noqa: S311 - numbers, not secrets
    numbers = struct.pack(f"<{_NUMBERS}e", *(drawn.gauss(0, 0.02) for _ in range(_NUMBERS)))
    for number in range(1, count + 1):
        head, size = header(number * STEP)
        with (folder / f"{NAME}-step{number * STEP:08d}.safetensors").open("wb") as file:
            file.write(head)
            while size:
                shift = 2 * drawn.randrange(_NUMBERS)
                part = (numbers[shift:] + numbers[:shift])[:size]
                file.write(part)
                size -= len(part)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
