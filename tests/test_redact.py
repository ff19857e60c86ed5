"""What lets someone in is cut from all that is kept or shown."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli import redact
from sdxl_train_cli.recipe import Kind, Recipe, Setting


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("http://user:TOKEN@host/x.git", "http://host/x.git"),
        ("https://TOKEN@github.com/a/b", "https://github.com/a/b"),
        ("https://oauth2:TO@KEN@host:8443/x", "https://host:8443/x"),
        ("https://host/x?access_token=TOKEN", "https://host/x?access_token=***"),
        ("https://host/x?ref=main&private_token=TOKEN&depth=1", "https://host/x?ref=main&private_token=***&depth=1"),
        ("https://host/x?X-Amz-Signature=TOKEN", "https://host/x?X-Amz-Signature=***"),
        ("ssh://git@host/x", "ssh://git@host/x"),
        ("ssh://git:TOKEN@host/x", "ssh://git@host/x"),
        ("git+ssh://git:TOKEN@host/x", "git+ssh://git@host/x"),
        ("git@github.com:kohya-ss/sd-scripts", "git@github.com:kohya-ss/sd-scripts"),
        ("https://github.com/kohya-ss/sd-scripts", "https://github.com/kohya-ss/sd-scripts"),
        ("https://host/x@v1", "https://host/x@v1"),
        ("https://host/x?monkey=1", "https://host/x?monkey=1"),
        ("/srv/git/a@b", "/srv/git/a@b"),
        ("file:///srv/a@b", "file:///srv/a@b"),
        ("fatal: unable to access 'http://u:TOKEN@host/': no", "fatal: unable to access 'http://host/': no"),
        ("tried http://a:TOKEN@b/ and ftp://c:TOKEN@d/", "tried http://b/ and ftp://d/"),
    ],
)
def test_an_address_keeps_all_but_what_lets_someone_in(address: str, kept: str) -> None:
    assert redact.text(address) == kept
    assert "TOKEN" not in kept


@given(st.text())
def test_what_was_cleaned_is_clean(words: str) -> None:
    assert redact.text(redact.text(words)) == redact.text(words)


@pytest.mark.parametrize("part", ["a", "://a", "://a:", "?token", "?&", "token=", "http://a@", "?a-token.token_", " "])
def test_long_words_take_no_time(part: str) -> None:
    start = time.monotonic()
    redact.text(part * (200_000 // len(part)))

    assert time.monotonic() - start < 2


RECIPE = Recipe(
    kind=Kind.LORA,
    name="mine",
    description="",
    settings={
        "wandb_api_key": Setting(value="KEY", origin="--set"),
        "huggingface_token": Setting(value=redact.MASK, origin="run.json"),
        "seed": Setting(value=1, origin="--seed"),
    },
)


def test_a_key_goes_by_a_variable_and_one_that_was_not_kept_has_to_be_given_again() -> None:
    assert redact.variables(RECIPE) == {"WANDB_API_KEY": "KEY"}
    assert redact.notes(RECIPE) == [
        "wandb_api_key goes to the trainer as the variable WANDB_API_KEY, and no record keeps it",
        "huggingface_token is not kept: set HF_TOKEN before you type this, unless wandb or the hub know you already",
    ]


def test_a_record_keeps_that_there_was_a_key_and_not_which() -> None:
    masked = redact.masked(RECIPE)

    assert (masked.get("wandb_api_key"), masked.origin("wandb_api_key"), masked.get("seed")) == ("***", "--set", 1)


def test_a_command_line_of_an_older_release_is_shown_without_its_keys() -> None:
    words = ["python", "x.py", "--wandb_api_key", "KEY", "--huggingface_token=KEY", "--seed", "1"]

    assert redact.argv(words) == (
        "python", "x.py", "--wandb_api_key", "***", "--huggingface_token=***", "--seed", "1",
    )  # fmt: skip
