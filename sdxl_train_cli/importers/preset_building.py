"""Build a preset that sd-scripts accepts from foreign settings: kind, base, changes, and what became of each key."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sdxl_train_cli.errors import Problem, RecipeError, WayOut
from sdxl_train_cli.importers import (
    misplaced,
    named_code,
    networks,
    option_translation,
    related_options,
    substitutes,
    values,
)
from sdxl_train_cli.importers.foreign_settings import ForeignKey, ForeignSettings, KeyFate
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import options, shipped
from sdxl_train_cli.sdscripts.attention import ATTENTIONS
from sdxl_train_cli.sdscripts.options import OptionTable

Changes = Mapping[str, "Value | None"]

_HOW_FAST = frozenset({"sdpa", "max_data_loader_n_workers"})
_NEEDED = frozenset({"resolution", "network_module", "save_model_as"})
_OF_THE_DATASET = frozenset(
    [
        "resolution", "train_batch_size", "enable_bucket", "min_bucket_reso", "max_bucket_reso",
        "bucket_reso_steps", "bucket_no_upscale", "shuffle_caption", "keep_tokens", "flip_aug", "color_aug",
        "random_crop", "caption_dropout_rate"
    ]
)  # fmt: skip
_MEANING = frozenset(
    [
        "learning_rate", "unet_lr", "text_encoder_lr", "optimizer_type", "network_module", "network_args",
        "network_dim", "network_train_unet_only", "resolution"
    ]
)  # fmt: skip
"""Options that are never dropped to make a run possible, as that would make it a different run."""
_RATES: Mapping[str, str] = {
    "unet_lr": "network_train_text_encoder_only",
    "text_encoder_lr": "network_train_unet_only",
}
"""Rates of parts, and the switch that excludes the part."""
_ALL_RATES = frozenset({"learning_rate", "learning_rate_te1", "learning_rate_te2", "block_lr", *_RATES})
_REFUSED = "sd-scripts would refuse it: "


@dataclass(frozen=True)
class ImportedPreset:
    """A preset before it is written."""

    format: str
    kind: Kind
    base: str
    """The shipped preset that it extends."""
    changes: Changes
    """Differences from the base. None resets an option of the base to sd-scripts' default."""
    entries: tuple[ForeignKey, ...]
    facts: tuple[str, ...]
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class _ImportDraft:
    """Foreign settings during conversion."""

    kind: Kind
    whole: bool
    known: Changes
    """Every option that the foreign settings mention."""
    entries: tuple[ForeignKey, ...]
    silent_on_dataset: bool
    bases: Mapping[str, Recipe]
    """Every shipped preset of the kind."""
    text: str = ""
    """The file, for the lines of its settings."""
    warnings: tuple[Problem, ...] = ()


def build(reading: ForeignSettings, table: OptionTable, shown: str, typed_kind: Kind | None = None) -> ImportedPreset:
    """Build a preset. RecipeError if the settings are not for SDXL, or can't be trained whatever is dropped."""
    entries = [
        option_translation.without_secrets(made)
        for entry in related_options.unite(reading.entries)
        for made in option_translation.translate(entry)
    ]
    named_code.require_harmless(entries, shown)
    _require_something(entries, reading, shown)
    entries, warnings = substitutes.replaced(_superseded(entries), shown, reading.text)
    entries = misplaced.put_right(entries, table, is_full=reading.full)
    module, arguments = _network(entries)
    if module in networks.OTHER_MODELS:
        raise RecipeError(
            Problem(f"is for {networks.OTHER_MODELS[module]}, not for SDXL", "import SDXL settings", shown)
        )
    entries = _fitting(entries, module, arguments)
    kind = networks.kind(reading.full, module, arguments)
    if typed_kind is not None and typed_kind is not kind:
        raise RecipeError(Problem(f"is for a {kind.label}, not a {typed_kind.label}", "omit --kind", shown))
    known = {entry.option: entry.value for entry in entries if entry.option is not None}
    has_dataset = any(entry.key.endswith("dataset_config") and entry.shown for entry in reading.entries)
    bases = {name: presets.load(kind, name) for name in presets.names_by_size(kind)}
    draft = _ImportDraft(kind, reading.whole, known, tuple(entries), has_dataset, bases, reading.text)
    draft = _mended(draft, table, shown)
    base = min(bases, key=lambda name: _distance(draft, name))
    changes = _changes(draft, base)
    return ImportedPreset(
        reading.format, kind, base, changes, draft.entries, reading.facts,
        (*reading.warnings, *warnings, *draft.warnings),
    )  # fmt: skip


def _require_something(entries: Sequence[ForeignKey], reading: ForeignSettings, shown: str) -> None:
    """RecipeError for a file without a setting that a preset can hold."""
    if any(entry.option is not None for entry in entries):
        return
    if reading.warnings:
        raise RecipeError([replace(each, message=f"sets nothing itself: {each.message}") for each in reading.warnings])
    raise RecipeError(Problem("holds no setting that a preset could hold", "name the file with the settings", shown))


def _distance(draft: _ImportDraft, base: str) -> tuple[int, int, int]:
    """Number of changes needed, of differing network arguments, and of options that the file does not mention."""
    settings = draft.bases[base].settings
    theirs = networks.parse_pairs(settings["network_args"].value if "network_args" in settings else None)
    differing = networks.parse_pairs(draft.known.get("network_args")).items() ^ theirs.items()
    return len(_changes(draft, base)), len(differing), len(settings.keys() - draft.known.keys())


def _superseded(entries: Sequence[ForeignKey]) -> list[ForeignKey]:
    last = {entry.option: entry for entry in entries if entry.option is not None}
    found = []
    for entry in entries:
        final = None if entry.option is None else last[entry.option]
        if final is None or final is entry:
            found.append(entry)
        else:
            said = (
                "says the same"
                if option_translation.means_same(entry.value, final.value)
                else "says otherwise and takes precedence"
            )
            found.append(entry.dropped(f"{final.key} {said}"))
    return found


def _network(entries: Sequence[ForeignKey]) -> tuple[str, dict[str, str]]:
    known = {entry.option: entry.value for entry in entries}
    return str(known.get("network_module") or "networks.lora"), networks.parse_pairs(known.get("network_args"))


def _fitting(entries: Sequence[ForeignKey], module: str, arguments: Mapping[str, str]) -> list[ForeignKey]:
    mended = networks.mend(module, arguments)
    found = list(entries)
    if mended != dict(arguments):
        for place, entry in enumerate(found):
            if entry.option == "network_args":
                note = entry.note or "rewritten so that LyCORIS does what it says"
                found[place] = replace(entry, what=KeyFate.COMPUTED, value=networks.format_pairs(mended), note=note)
    found = _plain_rates(found)
    if any(entry.option == "mixed_precision" and entry.value == "fp16" for entry in entries):
        found = [
            replace(entry, what=KeyFate.COMPUTED, value=True, note="on: in fp16 SDXL's VAE gives NaN")
            if entry.option == "no_half_vae" and not entry.value
            else entry
            for entry in found
        ]
    return found


def _plain_rates(entries: Sequence[ForeignKey]) -> list[ForeignKey]:
    """Drop a part's own rate if it equals the common one, or if the part is not trained."""
    known = {entry.option: entry.value for entry in entries if entry.option is not None}
    common = known.get("learning_rate") or shipped.default_number("learning_rate")
    found = []
    for entry in entries:
        rate = entry.value[0] if isinstance(entry.value, tuple) and len(entry.value) == 1 else entry.value
        if entry.option is None or entry.option not in _RATES or entry.value is None:
            found.append(entry)
        elif known.get(_RATES[entry.option]):
            found.append(replace(entry, what=KeyFate.COMPUTED, value=None, note="this part is not trained"))
        elif option_translation.means_same(rate, common):
            found.append(replace(entry, what=KeyFate.COMPUTED, value=None, note="the same as learning_rate"))
        else:
            found.append(entry)
    return found


def _changes(draft: _ImportDraft, base: str) -> Changes:
    """Options that a preset extending this base must set."""
    inherited = draft.bases[base].settings
    changes: dict[str, Value | None] = {}
    for option, value in sorted(draft.known.items()):
        below = inherited[option].value if option in inherited else None
        if option_translation.means_same(value, below) or (
            option_translation.is_off(option, value) and option_translation.is_off(option, below)
        ):
            continue
        absent = option_translation.is_off(option, value) and (
            option in option_translation.MUST_BE_ABSENT or _is_nothing(value)
        )
        changes[option] = (False if below is True else None) if absent else value
    if draft.known.get("max_train_epochs") and "max_train_steps" in inherited:
        changes.setdefault("max_train_steps", None)
    if draft.whole:
        for option in sorted(inherited.keys() - draft.known.keys() - _kept(draft)):
            below = inherited[option].value
            if not option_translation.is_off(option, below):
                changes[option] = False if below is True else None
    return changes


def _is_nothing(value: Value | None) -> bool:
    """Absent, or a switch that is off. Zero is a value."""
    return value is None or value is False


def _kept(draft: _ImportDraft) -> frozenset[str]:
    """Options of the base that stay even though the file does not mention them."""
    kept = _NEEDED | (_OF_THE_DATASET if draft.silent_on_dataset else frozenset())
    chosen = any(draft.known.get(option) for option in ATTENTIONS)
    kept |= _HOW_FAST - ({"sdpa"} if chosen else set())
    is_fp16 = draft.known.get("mixed_precision") == "fp16"
    return kept | ({"no_half_vae"} if is_fp16 else set())  # SDXL's VAE yields NaN in fp16


def _recipe(recipe: Recipe, changes: Changes) -> Recipe:
    merged = {option: setting.value for option, setting in recipe.settings.items()} | dict(changes)
    return recipe.replaced(dict.fromkeys(recipe.settings)).replaced(
        {option: Setting(value=value, origin=Origin(option)) for option, value in merged.items() if value is not None}
    )


def _mended(draft: _ImportDraft, table: OptionTable, shown: str) -> _ImportDraft:
    """Drop what sd-scripts would refuse. RecipeError if that would make it a different run."""
    name, base = next(iter(draft.bases.items()))
    known = table.of(draft.kind)
    for _ in range(len(draft.known) + len(base.settings) + 1):
        recipe = _recipe(base, _changes(draft, name))
        refused = _refused(recipe, table)
        if not refused:
            return draft
        for problem in refused:
            way = next((way for way in problem.ways if _keeps_the_rest(way, recipe)), None)
            if way is not None:
                draft = _with_other_values(draft, way, problem, shown)
                continue
            option = _to_leave_out(problem, draft, recipe)
            if option is None or option in _MEANING:
                raise RecipeError(replace(problem, where=shown))
            draft = _left_out(draft, option, problem, is_known=option in known)
    raise RecipeError(Problem("can't be made into a preset that sd-scripts accepts", None, shown))


def _keeps_the_rest(way: WayOut, recipe: Recipe) -> bool:
    """Whether a way out sets rates alone, or takes some of the optimizer's arguments away and keeps others."""
    if way.options == {"optimizer_args"}:
        kept = set(way.settings[0].partition("=")[2].split())
        given = recipe.arguments("optimizer_args")
        return kept < {f"{name}={text}" for name, text in given.items()}
    return way.options <= _ALL_RATES


def _with_other_values(draft: _ImportDraft, way: WayOut, problem: Problem, shown: str) -> _ImportDraft:
    """The draft with a way out's values in place of those that would destroy or never move the model."""
    given = dict(setting.split("=", 1) for setting in way.settings)
    read = {option: values.convert(raw, option) for option, raw in given.items() if raw != "null"}
    changed = {option: value for option, value in read.items() if value != draft.known.get(option)}
    new: Mapping[str, Value | None] = changed or dict.fromkeys(given.keys() - read)  # no more than is needed
    entries, told = list[ForeignKey](), list[Problem]()
    for entry in draft.entries:
        if entry.option is None or entry.option not in new or entry.value is None:
            entries.append(entry)
            continue
        value = new[entry.option]
        entries.append(replace(entry, what=KeyFate.COMPUTED, value=value, note=problem.message))
        text = " ".join(map(str, value)) if isinstance(value, tuple) else value
        instead = "it is left out" if value is None else f"{text} is taken in its place"
        message = f"{entry.option} {entry.shown}: {instead}: {problem.message}"
        told.append(Problem(message, None, substitutes.place(entry, shown, draft.text), (entry.option,)))
    return replace(
        draft, known={**draft.known, **new}, entries=tuple(entries), warnings=(*draft.warnings, *told)
    )  # fmt: skip


def _refused(recipe: Recipe, table: OptionTable) -> list[Problem]:
    """Problems to fix next: all that the option table reports, else one rule at a time, as fixing it may fix others."""
    alone = list(options.problems(recipe, table))
    return alone or list(itertools.islice(rules.problems(options.convert(recipe, table)), 1))


def _to_leave_out(problem: Problem, draft: _ImportDraft, recipe: Recipe) -> str | None:
    """The best option to drop, preferring options that the file does not mention. None if none is set."""
    if len(problem.options) == 1:
        return problem.options[0]
    given = [option for option in problem.options if not _is_nothing(recipe.get(option))]
    ours = [option for option in given if draft.known.get(option) is None]
    return next(iter((*ours, *given)), None)


def _left_out(draft: _ImportDraft, option: str, problem: Problem, *, is_known: bool) -> _ImportDraft:
    refused = _REFUSED + problem.message
    note, what = (refused, KeyFate.IGNORED) if is_known else (problem.message, KeyFate.UNKNOWN)
    entries = tuple(entry.dropped(note, what) if entry.option == option else entry for entry in draft.entries)
    if not any(entry.option == option for entry in draft.entries):
        entries = (*entries, ForeignKey(f"({option})", "", KeyFate.COMPUTED, option, None, refused))
    return replace(draft, known={**draft.known, option: None}, entries=entries)
