"""Train a LoRA from Python: python docs/example.py PICTURES MODEL [--dry-run]."""

import sys
from pathlib import Path

from sdxl_train_cli import api

if len(sys.argv) < 3:  # noqa: PLR2004 - the script and two arguments
    sys.exit(__doc__)
pictures, model, *flags = sys.argv[1:]
changes = {"max_train_steps": 800, "save_every_n_steps": 200}
imagined_gib = 24.0 if "--dry-run" in flags else None  # the GPU that is here, if this is to be trained
try:
    recipe = api.load_preset(api.Kind.LORA, "dim32-gc", changes)
    print(f"needs up to {api.estimate_memory(recipe).high_gib:.1f} GB of GPU memory")
    prepared = api.prepare(recipe.kind, model=model, data=Path(pictures), preset=recipe.name, changes=changes,
                           gpu_memory_gib=imagined_gib)  # fmt: skip
    for problem in prepared.warnings:
        print(f"warning: {problem}")
    if "--dry-run" in flags:
        print(*prepared.argv)
    else:
        result = api.launch(prepared, on_event=print)
        run = api.read_run(prepared.run.folder)
        print(f"{run.state.value}: {result.result} after {len(api.read_curves(run).steps)} steps, loss {result.loss}")
except api.SdxlTrainError as error:
    for problem in error.problems:
        print(f"{problem}\n    {problem.hint}", file=sys.stderr)
    sys.exit(error.exit_code)
