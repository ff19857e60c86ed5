"""Run in the training environment: what the real sd-scripts makes of a dataset, bucket by bucket, as JSON on stdout.

`python upstream_buckets.py CHECKOUT REQUEST.json`, where the request holds `asked`: a list of a dataset config's path,
options of sdxl_train_network.py by name, and numbers of GPUs. No model is loaded: buckets need none.
"""

from __future__ import annotations

import ast
import contextlib
import json
import math
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

Theirs: TypeAlias = Any
"""An object of sd-scripts, which names no types."""

CHECKOUT = Path(sys.argv[1])
sys.path.insert(0, str(CHECKOUT))
with contextlib.redirect_stdout(sys.stderr):
    import numpy as np
    import sdxl_train_network
    import torch
    from accelerate.data_loader import prepare_data_loader
    from library import config_util, train_util
    from library.config_util import BlueprintGenerator, ConfigSanitizer


def dataset(config: str, options: dict[str, Theirs]) -> tuple[Theirs, Theirs]:
    """The dataset as sdxl_train_network.py would have it, and its parsed options."""
    argv = [f"--dataset_config={config}"]
    for name, value in options.items():
        argv += [f"--{name}"] if value is True else [] if value is False else [f"--{name}={value}"]
    args = sdxl_train_network.setup_parser().parse_args(argv)
    train_util.prepare_dataset_args(args, True)
    generator = BlueprintGenerator(ConfigSanitizer(True, True, args.masked_loss, True))
    blueprint = generator.generate(config_util.load_user_config(args.dataset_config), args)
    group, _ = config_util.generate_dataset_group_by_blueprint(blueprint.dataset_group)
    (found,) = group.datasets
    return found, args


def box(info: Theirs) -> list[int]:
    """What is kept of the resized picture: the real cut, made on a picture whose pixels say where they are."""
    width, height = info.resized_size
    across, down = np.meshgrid(np.arange(width, dtype=np.int32), np.arange(height, dtype=np.int32))
    cut, _, _ = train_util.trim_and_resize_if_required(
        False, np.stack([across, down], axis=-1), info.bucket_reso, info.resized_size
    )
    return [int(cut[0, 0, 0]), int(cut[0, 0, 1]), int(cut[-1, -1, 0]) + 1, int(cut[-1, -1, 1]) + 1]


def buckets(found: Theirs) -> list[dict[str, object]]:
    """Those that have pictures; every tenth picture is really loaded, resized and cut, which asserts its size."""
    batches = Counter(index.bucket_index for index in found.buckets_indices)
    made = []
    for number, (reso, keys) in enumerate(zip(found.bucket_manager.resos, found.bucket_manager.buckets, strict=True)):
        members = []
        for key, repeats in sorted(Counter(keys).items()):
            info = found.image_data[key]
            if len(members) % 10 == 0:
                train_util.load_images_and_masks_for_caching([info], False, False)
            members.append([key, repeats, list(info.image_size), list(info.resized_size), box(info)])
        made.append({"size": list(reso), "members": members, "batches": batches[number]})
    return made


def lengths(script: str, found: Theirs, args: Theirs) -> dict[str, int]:
    """Evaluate the script's own lines for the steps of a run and of an epoch, on the real data loader."""
    loader = torch.utils.data.DataLoader(found, batch_size=1, shuffle=True)
    prepared = prepare_data_loader(loader, num_processes=1, process_index=0, put_on_device=False)
    lines = {
        ast.unparse(node.targets[0]): compile(ast.Expression(node.value), script, "eval")
        for node in ast.walk(ast.parse((CHECKOUT / script).read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign) and "train_dataloader" in ast.unparse(node.value)
    }
    names = {"math": math, "args": args, "accelerator": SimpleNamespace(num_processes=1)}
    whole, part = {**names, "train_dataloader": loader}, {**names, "train_dataloader": prepared}
    steps = args.max_train_steps
    if args.max_train_epochs is not None:
        steps = eval(lines["args.max_train_steps"], whole)  # noqa: S307 - the script's own line
    per_epoch = eval(lines["num_update_steps_per_epoch"], part)  # noqa: S307
    return {"batches": len(loader), "steps": steps, "steps_per_epoch": per_epoch}


answers = []
with contextlib.redirect_stdout(sys.stderr):
    for config, options in json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))["asked"]:
        found, args = dataset(config, options)
        steps = [lengths(script, found, args) for script in ("train_network.py", "sdxl_train.py")]
        answers.append({"buckets": buckets(found), "lengths": steps})
print(json.dumps(answers))  # noqa: T201 - the answer
