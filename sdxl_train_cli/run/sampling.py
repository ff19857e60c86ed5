"""Sample pictures that a run draws by itself: which prompts, how large, how often, and whether they fit the GPU."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files, formatting, language
from sdxl_train_cli.dataset import bucketing, prompt_drafting
from sdxl_train_cli.dataset.bucketing import BucketPlan
from sdxl_train_cli.dataset.file_facts import Survey
from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.memory.requirement import MemoryNeed
from sdxl_train_cli.recipe import Recipe, Setting, Value
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.run import step_cost
from sdxl_train_cli.sdscripts import buckets, sample_prompts
from sdxl_train_cli.sdscripts.sample_prompts import AT_FIRST, EVERY_EPOCHS, EVERY_STEPS, ORIGIN, PROMPTS, SampleLook

_SMALLER_SIDES = (768, 512)
"""Tried where the training's own size does not fit. Below, SDXL draws nothing that tells what was learned."""
_LONGEST_PAUSE = 500
"""Steps between two grids of pictures at most: a person who looks after a quarter of an hour finds a new one."""
_GRIDS = 5
"""Grids beside the first one, in a short run: enough to see when it is done, few enough to compare."""
_FEWEST_GRIDS = 3
_STEPS, _SEED, _SAMPLER = 24, 1000, "euler_a"
"""Euler a has settled by 24 steps. Each prompt has a seed of its own, the same in every grid."""
_TAGS_SCALE, _SENTENCES_SCALE = 6.0, 7.0
_TAGS_NEGATIVE = "lowres, worst quality, low quality, bad anatomy, bad hands, jpeg artifacts, signature, watermark"
_SENTENCES_NEGATIVE = "blurry, low quality, watermark, text"
_NOT_WRITTEN = "prompts.txt"
"""Stands for the file until the run's folder is known."""
_GRAIN = 64
"""Sides in pixels: v0.11.1 cuts them to multiples of 32, and buckets are multiples of 64."""
_PASSES_SAMPLING = 2
"""With guidance, the U-Net sees each step's picture twice."""


@dataclass(frozen=True)
class SamplePlan:
    """What a run draws."""

    lines: tuple[str, ...]
    """Of the prompts file."""
    steps: int
    every: int | None
    """Steps from one grid to the next. None where the recipe has a rhythm of its own in epochs."""
    at_first: bool
    width: int
    height: int
    training_steps: int
    """How many of them take about as long as drawing all pictures."""
    more_gib: float | None
    """What they add to the memory of the run. None if that was not looked at."""

    @property
    def text(self) -> str:
        """Contents of the prompts file."""
        return "".join(f"{line}\n" for line in self.lines)

    @property
    def words(self) -> str:
        """What is drawn, when, and what it costs."""
        first = language.said("plan", "at-first", "at the start and ") if self.at_first else ""
        when = (
            language.said("plan", "rhythm", "as the recipe says")
            if self.every is None
            else language.said("plan", "every", "{first}every {every} steps", first=first, every=self.every)
        )
        more = language.said("plan", "more-memory", ", {gib:.1f} GB more memory", gib=self.more_gib or 0.0)
        english = (
            "samples: {prompts} {when}, {width}x{height}: about as long as {steps_words}{memory}; "
            "--no-samples leaves them out"
        )
        facts = {"count": len(self.lines), "steps": self.training_steps, "width": self.width, "height": self.height}
        return language.said(
            "plan", "samples", english, when=when, memory=more if self.more_gib else "", **facts,
            prompts=formatting.counted(len(self.lines), "prompt"),
            steps_words=formatting.counted(self.training_steps, "training step"),
        )  # fmt: skip


@dataclass(frozen=True)
class SamplesChoice:
    """A recipe that draws samples, or one that does not, with the reason."""

    recipe: Recipe
    plan: SamplePlan | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SampleRequest:
    """What was asked for, and where it has to run."""

    prompts: tuple[str, ...] | None
    """None leaves it to us, and none wants no samples."""
    on_processor: bool
    free_gib: float | None
    """None where memory is not looked at."""


NeedOf = Callable[[Recipe], MemoryNeed]


def is_off(overrides: Sequence[Override]) -> bool:
    """Whether the last word about the prompts takes them away: `sample_prompts=null`."""
    words = [each.value for each in overrides if each.option == PROMPTS]
    return bool(words) and words[-1] is None


def asked(recipe: Recipe, prompts: tuple[str, ...] | None, *, off: bool) -> Recipe:
    """The recipe with the file that asked prompts will be written to, or with nothing of samples where none are wanted.

    RecipeError if it names a file already.
    """
    if off or prompts == ():
        return recipe.replaced(dict.fromkeys((PROMPTS, *sample_prompts.RHYTHM)))
    if not prompts:
        return recipe
    if recipe.get(PROMPTS) is not None:
        words = f"sample_prompts is set, and --sample gives prompts too: {recipe.get(PROMPTS)}"
        hint = "leave out --sample, or write its prompts into that file"
        raise RecipeError(Problem(words, hint, recipe.origin(PROMPTS), (PROMPTS,)))
    return recipe.replaced({PROMPTS: _setting(_NOT_WRITTEN)})


def with_file(recipe: Recipe, file: Path) -> Recipe:
    """The recipe with the file of prompts in the run's folder, where the prompts are ours to write."""
    return recipe.replaced({PROMPTS: _setting(str(file))}) if recipe.origin(PROMPTS) == ORIGIN else recipe


def resumed(recipe: Recipe, file: Path) -> Recipe:
    """The recipe of a run that goes on, whose folder may have been moved. No samples where its prompts are gone."""
    if recipe.origin(PROMPTS) == ORIGIN and not files.is_file(file):
        return recipe.replaced(dict.fromkeys((PROMPTS, *sample_prompts.RHYTHM)))
    moved = with_file(recipe, file)
    named = moved.get(PROMPTS)
    pixels = None if named is None else sample_prompts.pixels_of_file(Path(str(named)))
    return moved.model_copy(update={"sample_pixels": pixels})


def with_pixels(recipe: Recipe) -> Recipe:
    """The recipe with the size of the samples that a person's own file asks for."""
    named = recipe.get(PROMPTS)
    if named is None or recipe.origin(PROMPTS) == ORIGIN:
        return recipe
    return recipe.model_copy(update={"sample_pixels": sample_prompts.pixels_of_file(Path(str(named)))})


@dataclass(frozen=True)
class _Sized:
    """Samples of one size, and what the run needs with them."""

    recipe: Recipe
    plan: SamplePlan
    need: MemoryNeed | None


def choose(recipe: Recipe, survey: Survey, request: SampleRequest, need_of: NeedOf) -> SamplesChoice:
    """Decide it for a typed recipe; touches nothing.

    Samples that nobody asked for never keep a run from starting: they shrink, or are left out.
    """
    has_own = recipe.get(PROMPTS) is not None and recipe.origin(PROMPTS) != ORIGIN
    if has_own or request.prompts == ():
        return SamplesChoice(recipe)
    draft = prompt_drafting.draft(survey)
    prompts, is_asked = request.prompts or draft.prompts, request.prompts is not None
    arranged = bucketing.arrange(recipe, survey.readable)
    bare = recipe.replaced(dict.fromkeys((PROMPTS, *sample_prompts.RHYTHM)))
    if not prompts or not arranged.buckets or arranged.steps < 1:
        return SamplesChoice(bare)
    if request.on_processor and not is_asked:
        english = "no sample pictures: without a GPU each takes minutes; --sample PROMPT draws them anyway"
        words = language.said("plan", "no-samples", english)
        return SamplesChoice(bare, notes=(words,))
    before = None if request.free_gib is None else need_of(bare)
    drawn = _Drawn(tuple(prompts), draft.are_tags, arranged)
    attempts = [_sized(recipe, drawn, size, need_of, before) for size in _sizes(drawn)]
    fitting = next((each for each in attempts if _fits(each, request.free_gib)), None)
    if fitting is None and not is_asked:
        return SamplesChoice(bare, notes=tuple(_left_out(before, attempts[-1], request.free_gib or 0.0)))
    taken = fitting or attempts[-1]  # what was asked for and does not fit is refused by the check of memory
    return SamplesChoice(taken.recipe, taken.plan, tuple(_notes(taken, attempts[0])))


@dataclass(frozen=True)
class _Drawn:
    """What is drawn, whatever its size."""

    prompts: tuple[str, ...]
    are_tags: bool
    arranged: BucketPlan


def _sized(recipe: Recipe, drawn: _Drawn, size: tuple[int, int], need_of: NeedOf, before: MemoryNeed | None) -> _Sized:
    negative = _TAGS_NEGATIVE if drawn.are_tags else _SENTENCES_NEGATIVE
    look = SampleLook(*size, _STEPS, _TAGS_SCALE if drawn.are_tags else _SENTENCES_SCALE, negative)
    lines = tuple(sample_prompts.line(each, look, _SEED + at) for at, each in enumerate(drawn.prompts))
    pixels = sample_prompts.largest_pixels("\n".join(lines))
    every = _rhythm(recipe, drawn.arranged.steps)
    at_first = recipe.get(AT_FIRST) is not False
    settings: dict[str, Setting | None] = {PROMPTS: _setting(_NOT_WRITTEN)}
    if at_first:
        settings[AT_FIRST] = recipe.settings.get(AT_FIRST) or _setting(value=True)
    if every is not None:
        settings[EVERY_STEPS] = recipe.settings.get(EVERY_STEPS) or _setting(every)
    settings[sample_prompts.SAMPLER] = recipe.settings.get(sample_prompts.SAMPLER) or _setting(_SAMPLER)
    sampling = recipe.replaced(settings).model_copy(update={"sample_pixels": pixels})
    need = None if before is None else need_of(sampling)
    grids = int(at_first) + (drawn.arranged.steps // every if every else 0)
    return _Sized(
        sampling,
        SamplePlan(
            lines=lines, steps=drawn.arranged.steps, every=every, at_first=at_first, width=size[0], height=size[1],
            training_steps=_cost(recipe, drawn.arranged, grids * len(lines), pixels),
            more_gib=None if before is None or need is None else round(need.high_gib - before.high_gib, 1),
        ),
        need,
    )  # fmt: skip


def _fits(attempt: _Sized, free_gib: float | None) -> bool:
    return free_gib is None or (attempt.need is not None and attempt.need.high_gib <= free_gib)


def _notes(taken: _Sized, largest: _Sized) -> Iterator[str]:
    plan = taken.plan
    yield plan.words
    if taken.recipe.is_on("zero_terminal_snr"):  # get_my_scheduler knows v-prediction alone
        english = "sd-scripts draws samples without zero terminal SNR: dark and bright ones are paler than in ComfyUI"
        yield language.said("plan", "pale-samples", english)
    if taken is not largest:
        asked = f"{largest.plan.width}x{largest.plan.height}"
        figure = None if largest.need is None else largest.need.figure
        need = "" if figure is None else language.said("plan", "size-needs", ", which needs {gib} GB", gib=figure)
        english = "samples are smaller than the training's {size}{need}"
        yield language.said("plan", "smaller-samples", english, size=asked, need=need)


def _left_out(before: MemoryNeed | None, smallest: _Sized, free_gib: float) -> Iterator[str]:
    if before is None or smallest.need is None or before.high_gib > free_gib:
        return  # the run does not fit without them either, which is told elsewhere
    size = f"{smallest.plan.width}x{smallest.plan.height}"
    english = "no sample pictures: even at {size} the run would need {gib} GB with them, and {free:.1f} GB are free"
    yield language.said("plan", "no-room-samples", english, size=size, gib=smallest.need.figure, free=free_gib)


def _sizes(drawn: _Drawn) -> list[tuple[int, int]]:
    """The commonest bucket's shape at the training's own size, then smaller. One, where a prompt says its own."""
    shapes = Counter[tuple[int, int]]()
    for bucket in drawn.arranged.buckets:
        shapes[bucket.width, bucket.height] += bucket.count
    width, height = max(shapes, key=lambda size: (shapes[size], size))
    if any(map(sample_prompts.has_own_size, drawn.prompts)):
        return [(width, height)]
    side = math.sqrt(width * height)
    scales = [less / side for less in _SMALLER_SIDES if less < side]
    smaller = [(_grained(width * scale), _grained(height * scale)) for scale in scales]
    return [(_grained(width), _grained(height)), *(size for size in smaller if math.prod(size) < width * height)]


def _grained(side: float) -> int:
    return max(_GRAIN, round(side / _GRAIN) * _GRAIN)


def _rhythm(recipe: Recipe, steps: int) -> int | None:
    """Steps from one grid to the next. None where the recipe counts epochs."""
    own = recipe.number(EVERY_STEPS)
    if recipe.get(EVERY_EPOCHS) is not None:
        return None
    if own is not None:
        return max(1, int(own))
    saved = int(recipe.number("save_every_n_steps") or 0)
    return suitable_rhythm(steps, saved)


def suitable_rhythm(steps: int, saved: int = 0) -> int:
    """Every few hundred steps, more often in a short run; with checkpoints and at the end, where that works out."""
    wanted = min(steps / _GRIDS, _LONGEST_PAUSE)

    def fault(every: int) -> float:
        distance = abs(math.log(every / wanted))
        at_end = 0.0 if steps % every == 0 else _OFF_END
        beside = 0.0 if not saved or every % saved == 0 or saved % every == 0 else _OFF_CHECKPOINTS
        return distance + at_end + beside

    most = max(1, min(int(2 * wanted), steps // _FEWEST_GRIDS or 1))
    return min(range(max(1, int(wanted / 2)), most + 1), key=fault, default=1)


_OFF_END, _OFF_CHECKPOINTS = 0.4, 0.5
"""What a rhythm loses by no picture of the result, and by none of a checkpoint; 0.7 is twice as often as wanted."""


def _cost(recipe: Recipe, arranged: BucketPlan, pictures: int, pixels: int) -> int:
    """Training steps that take as long, counted in forward passes of the U-Net by their pixels."""
    size = buckets.sides(recipe) or (1, 1)
    step = step_cost.forward_passes(recipe) * math.prod(size) * max(arranged.batch_sizes) * arranged.accumulation
    return max(1, round(pictures * _STEPS * _PASSES_SAMPLING * pixels / step))


def _setting(value: Value) -> Setting:
    return Setting(value=value, origin=ORIGIN)
