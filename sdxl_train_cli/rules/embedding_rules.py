"""Rules for embeddings: a table, read from train_textual_inversion.py and sdxl_train_textual_inversion.py.

They hold for sd-scripts v0.10.1 and v0.11.1, whose scripts differ in the names of modules and in inpainting alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.rules.rule import Rule, is_set, sets, ways
from sdxl_train_cli.sdscripts import clip_words

_EMBEDDING = (Kind.EMBEDDING,)
_TEMPLATES = ("use_object_template", "use_style_template")
_WINDOW = 75
"""Tokens that are read of a caption unless max_token_length says more."""
_OF_CAPTIONS = (
    "shuffle_caption", "keep_tokens", "caption_prefix", "caption_suffix", "token_warmup_step", "enable_wildcard",
    "secondary_separator",
)  # fmt: skip
"""What is done to captions before a template takes their place (process_caption)."""


def require_word(recipe: Recipe) -> None:
    """RecipeError if nothing says which word an embedding is to be. A preset leaves that open."""
    if recipe.kind is Kind.EMBEDDING and not str(recipe.get("token_string") or "").strip():
        raise RecipeError(
            Problem(
                "nothing says which word the embedding is to be",
                "--trigger mychar01, or another word that CLIP does not know",
            )
        )


def words(recipe: Recipe) -> Iterator[str]:
    """Yield the words that the trainer adds to CLIP's vocabulary: one for each vector."""
    token = str(recipe.get("token_string") or "")
    if token:
        yield token
        yield from (f"{token}{number}" for number in range(1, int(recipe.number("num_vectors_per_token") or 1)))


def uses_template(recipe: Recipe) -> bool:
    """Whether sentences of sd-scripts' own take the place of all captions."""
    return is_set(recipe, *_TEMPLATES)


def _is_known(recipe: Recipe) -> bool:
    return any(map(clip_words.knows, words(recipe)))


def _has_no_room(recipe: Recipe) -> bool:
    return (recipe.number("num_vectors_per_token") or 1) >= (recipe.number("max_token_length") or _WINDOW)


def _is_cut(recipe: Recipe) -> bool:
    begins = recipe.get("init_word")
    found = None if not begins else clip_words.count(str(begins))
    return found is not None and found > 1 and found != (recipe.number("num_vectors_per_token") or 1)


CONFLICTS = (
    Rule(
        ("token_string", "num_vectors_per_token"),
        _is_known,
        "CLIP knows this word already, and sd-scripts adds new ones only",
        "another word, such as one with digits in it: --trigger mychar01",
        _EMBEDDING,
    ),
    Rule(
        _TEMPLATES,
        sets(*_TEMPLATES),
        "use_object_template and use_style_template are both on, and sd-scripts takes the first",
        ways("use_style_template=false", "use_object_template=false"),
        _EMBEDDING,
    ),
    Rule(
        ("num_vectors_per_token", "max_token_length"),
        _has_no_room,
        "num_vectors_per_token is as large as what is read of a caption: part of the word would be cut off",
        ways("num_vectors_per_token=8"),
        _EMBEDDING,
    ),
    Rule(
        ("save_state", "save_state_on_train_end"),
        lambda recipe: is_set(recipe, "save_state", "save_state_on_train_end"),
        "a state takes gigabytes, and a run of an embedding does not go on from one: its own small file will do",
        ways(("save_state=null", "save_state_on_train_end=null"), advice="the option weights names it later"),
        _EMBEDDING,
    ),
)

WARNINGS = (
    Rule(
        ("init_word", "num_vectors_per_token"),
        _is_cut,
        "init_word has another number of tokens than num_vectors_per_token: it is repeated, or cut off",
        "begin with a single plain word, such as woman",
        _EMBEDDING,
    ),
    Rule(
        ("init_word", "weights"),
        sets("init_word", "weights"),
        "weights holds the vectors to begin with, so init_word does nothing",
        ways("init_word=null"),
        _EMBEDDING,
    ),
    Rule(
        ("save_model_as",),
        lambda recipe: recipe.get("save_model_as") != "safetensors",
        "save_model_as is not safetensors: the result is a pickle, which can hold code and is never looked into",
        ways("save_model_as=safetensors"),
        _EMBEDDING,
    ),
    *(
        Rule(
            (option, *_TEMPLATES),
            lambda recipe, option=option: is_set(recipe, option) and uses_template(recipe),  # type: ignore[misc]
            f"a template takes the place of every caption, so {option} does nothing",
            ways(f"{option}=null", ("use_object_template=null", "use_style_template=null")),
            _EMBEDDING,
        )
        for option in _OF_CAPTIONS
    ),
)
