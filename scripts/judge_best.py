"""Judge `sdxl-train best`: which checkpoint it names, beside the one that is best in truth.

    python scripts/judge_best.py --home HOME --work FOLDER            all ten trainings, and the table
    python scripts/judge_best.py --home HOME --work FOLDER --only 3   one of them; those that are there stay

Ten trainings of the scaled-down SDXL on drawn figures, made to be under-trained, right and over-trained. First the
tiny base is trained whole on many figures of some kinds and colours (once; it stays in the folder), then each LoRA
learns other kinds from a few pictures. The truth is independent of what `best` rests on: the loss of each checkpoint
on pictures that are drawn anew by the same generator, none of which any training has seen, with other noise and other
timesteps (truth_of_best.py, which computes it without the trainer). A verdict is right where the checkpoint it names
is not clearly worse in truth than the truly best one, picture by picture; the table also says whether it at least
counted the truly best one among those that it could not tell apart.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "sdxl_train_cli" / "inside")]

import tiny_sdxl  # noqa: E402

from sdxl_train_cli.environment import environment  # noqa: E402
from sdxl_train_cli.environment.environment import INSIDE, Environment  # noqa: E402
from sdxl_train_cli.layout import Home  # noqa: E402
from sdxl_train_cli.origin import Origin  # noqa: E402
from sdxl_train_cli.ranking import facts, ranking  # noqa: E402
from sdxl_train_cli.recipe import Kind, Value  # noqa: E402
from sdxl_train_cli.recipes.presets import Override  # noqa: E402
from sdxl_train_cli.records import runs  # noqa: E402
from sdxl_train_cli.run import launching, preparation, repeating, run_choices  # noqa: E402
from sdxl_train_cli.run.run_choices import Choices  # noqa: E402

SIDE = 64
KNOWN = ("circle", "square", "cross"), ("red", "green", "blue", "yellow", "black")
NEW = ("stripes", "checks"), ("violet", "orange", "blue")
GENERAL, FRESH = 300, 24
BASE_STEPS = 600
SAVES = 6
PLAIN = {
    "resolution": f"{SIDE},{SIDE}", "min_bucket_reso": SIDE, "max_bucket_reso": 2 * SIDE, "lr_warmup_steps": 0,
    "save_state": None, "mixed_precision": "no", "optimizer_type": "AdamW", "save_precision": "float",
    "no_half_vae": True, "gradient_checkpointing": None, "max_data_loader_n_workers": 0, "lr_scheduler": "constant",
    "cache_latents": True, "cache_text_encoder_outputs": True,
}  # fmt: skip
WHOLE = {"optimizer_args": None, "full_bf16": None, "fused_backward_pass": None, "max_grad_norm": 1.0,
         "learning_rate": 5e-4, "train_batch_size": 8, "max_train_steps": BASE_STEPS}  # fmt: skip


@dataclass(frozen=True)
class Training:
    """One training, and what it was made to be."""

    made_to_be: str
    pictures: int
    held_back: int
    rate: float
    steps: int
    dim: int
    seed: int

    @property
    def name(self) -> str:
        """Its run's name."""
        return f"{self.made_to_be}-{self.seed}"


TRAININGS = (
    Training("under", 24, 16, 3e-4, 48, 16, 1),
    Training("over", 6, 16, 2e-3, 150, 32, 2),
    Training("right", 24, 16, 1e-3, 120, 16, 3),
    Training("over", 4, 16, 3e-3, 120, 32, 4),
    Training("under", 24, 16, 5e-4, 48, 8, 5),
    Training("right", 16, 16, 1e-3, 120, 16, 6),
    Training("over", 6, 16, 4e-3, 120, 16, 7),
    Training("right", 32, 16, 2e-3, 120, 16, 8),
    Training("over", 8, 16, 4e-3, 150, 32, 9),
    Training("under", 40, 16, 1e-3, 36, 16, 10),
)


def main() -> int:
    """Train what is missing, and print the table. 1 if fewer than eight of ten are right."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", type=int, action="append", metavar="N")
    asked = parser.parse_args()
    bench = Bench(asked.home.resolve(), asked.work.resolve())
    base = bench.base()
    chosen = [TRAININGS[number - 1] for number in asked.only] if asked.only else TRAININGS
    rows = [bench.judge(training, base) for training in chosen]
    for row in (HEADINGS, tuple("---" for _ in HEADINGS), *(row for row, _ in rows)):
        print("| " + " | ".join(row) + " |")
    right = sum(is_right for _, is_right in rows)
    print(f"\nright: {right} of {len(rows)}")
    return 0 if right >= 0.8 * len(rows) else 1


HEADINGS = ("training", "pictures", "steps", "best names", "truly best", "its true loss", "the named one's", "right",
            "best or tied")  # fmt: skip


class Bench:
    """A folder in which all of it is made."""

    def __init__(self, home: Path, work: Path) -> None:
        self.home, self.work = home, work
        self.installed: Environment = environment.require(Home(home))
        work.mkdir(parents=True, exist_ok=True)

    def base(self) -> Path:
        """The tiny base, trained whole on figures of the known kinds."""
        done = self.work / "runs" / "base" / "base.safetensors"
        if done.is_file():
            return done
        made = environment.run_script(self.installed, "tiny_sdxl.py", "--output", str(self.work / "tiny"))
        general = self.work / "general"
        draw(general, GENERAL, 1, *KNOWN)
        start = self.work / "start.safetensors"
        self.script("truth_of_best.py", "--prepare", made["model"], str(general), str(start))
        self.train(Kind.DREAMBOOTH, "base", start, general, WHOLE, None)
        return done

    def judge(self, training: Training, base: Path) -> tuple[tuple[str, ...], bool]:
        """One training's row, and whether the verdict is right."""
        folder = self.work / "runs" / training.name
        if not (folder / f"{training.name}.safetensors").is_file():
            pictures = self.work / f"{training.name}-pictures"
            count = training.pictures + training.held_back
            draw(pictures, count, 100 + training.seed, *NEW)
            every = training.steps // SAVES
            changes = {"learning_rate": training.rate, "max_train_steps": training.steps, "network_dim": training.dim,
                       "network_alpha": training.dim, "train_batch_size": 4, "seed": training.seed,
                       "save_every_n_steps": every, "validate_every_n_steps": every,
                       "validate_every_n_epochs": 10_000}  # fmt: skip
            self.train(Kind.LORA, training.name, base, pictures, changes, training.held_back / count)
        found = facts.of(ranking.judge(ranking.find(str(folder), folder.parent)))
        truth = self.truth(training, base, [Path(str(one["path"])) for one in found["checkpoints"]])  # type: ignore[attr-defined]
        return row(training, found, truth)

    def truth(self, training: Training, base: Path, files: list[Path]) -> dict[str, list[float]]:
        """The loss on each fresh picture, of each checkpoint by its file's name."""
        kept = self.work / f"{training.name}-truth.json"
        if not kept.is_file():
            fresh = self.work / "fresh"
            if not fresh.is_dir():
                draw(fresh, FRESH, 9999, *NEW)
            self.script("truth_of_best.py", "--measure", str(base), str(fresh), str(self.tokenizers), str(kept),
                        *map(str, files))  # fmt: skip
        found = json.loads(kept.read_text(encoding="utf-8"))
        return {str(name): list(losses) for name, losses in found.items()}

    @property
    def tokenizers(self) -> Path:
        """The tiny model's."""
        return self.work / "tiny" / "tokenizers"

    def script(self, name: str, *words: str) -> None:
        """Run one of our scripts by the training environment's Python."""
        argv = [str(self.installed.python), str(ROOT / "scripts" / name), *words]
        subprocess.run(argv, check=True, cwd=self.installed.checkout, env=environment.training_variables())

    def train(  # noqa: PLR0913, PLR0917 - the flags of one command
        self, kind: Kind, name: str, model: Path, data: Path, changes: dict[str, Value | None], share: float | None
    ) -> None:
        """As a command does it."""
        settings = {**PLAIN, **changes}
        choices = Choices(
            kind=kind, preset=run_choices.DEFAULT_PRESETS[kind], model=str(model), data=data, output=self.work / "runs",
            name=name, overrides=tuple(Override(option, value, Origin("--set")) for option, value in settings.items()),
            on_processor=True, check_vram=False, shim=INSIDE / "scaled.py", tokenizers=self.tokenizers, samples=(),
            validation=share or 0.0,
        )  # fmt: skip
        prepared = preparation.prepare(choices, Home(self.home), self.work / "presets")
        print(f"{name}: {settings['max_train_steps']} steps", file=sys.stderr, flush=True)
        runs.write(prepared.run, repeating.record(prepared), prepared.pictures, prepared.prompts)
        launching.follow(prepared, lambda _event: None)


def row(training: Training, found: dict[str, object], truth: dict[str, list[float]]) -> tuple[tuple[str, ...], bool]:
    """A line of the table, and whether the verdict is right."""
    named = Path(str(found["best"])).name
    best = min(truth, key=lambda name: fmean(truth[name]))
    behind = [mine - theirs for mine, theirs in zip(truth[named], truth[best], strict=True)]
    error = stdev(behind) / math.sqrt(len(behind)) if named != best else 0.0
    is_right = fmean(behind) <= 2 * error
    standings = {Path(str(one["path"])).name: one["standing"] for one in found["checkpoints"]}  # type: ignore[attr-defined]
    shown = (
        f"{training.name} ({found['course']})", f"{training.pictures} + {training.held_back}", str(training.steps),
        moment(named), moment(best), f"{fmean(truth[best]):.4f}",
        f"{fmean(truth[named]):.4f} ({fmean(behind):+.4f} ± {2 * error:.4f})", "yes" if is_right else "NO",
        "yes" if standings[best] in {"best", "not told apart from it"} else "NO",
    )  # fmt: skip
    return shown, is_right


def moment(name: str) -> str:
    """`step 40` of a file's name."""
    number = Path(name).stem.rpartition("-step")[2]
    return f"step {int(number)}" if number.isdecimal() else "final"


def draw(folder: Path, count: int, seed: int, figures: tuple[str, ...], colours: tuple[str, ...]) -> None:
    """Draw pictures of figures at random places, in random sizes and colours, each with a caption."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = random.Random(seed)  # noqa: S311 - pictures, not secrets
    for number in range(count):
        figure, (colour, ground) = drawn.choice(figures), drawn.sample(colours, 2)
        across, down, size = drawn.uniform(-0.4, 0.4), drawn.uniform(-0.4, 0.4), drawn.uniform(0.5, 1.1)
        shape = SHAPES[figure]
        picture = Image.new("RGB", (SIDE, SIDE))
        picture.putdata([
            tiny_sdxl.COLOURS[colour if shape(((2 * x - SIDE) / SIDE - across) / size,
                                              ((2 * y - SIDE) / SIDE - down) / size) < 0 else ground]
            for y in range(SIDE) for x in range(SIDE)
        ])  # fmt: skip
        picture.save(folder / f"{number:03d}.png")
        (folder / f"{number:03d}.txt").write_text(f"a {colour} {figure} on a {ground} ground\n", encoding="utf-8")


SHAPES = {
    **tiny_sdxl.FIGURES,
    "stripes": lambda x, y: math.sin(9 * (x + 0.4 * y)),
    "checks": lambda x, y: math.sin(8 * x) * math.sin(8 * y),
}
"""What the base has seen, and what it has not: it knows nothing of patterns that fill the picture."""


if __name__ == "__main__":
    sys.exit(main())
