"""What lets someone in is cut from all that is kept or shown."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli import redact
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.rules import value_rules


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
    start = time.process_time()
    redact.text(part * (1_000_000 // len(part)))

    assert time.process_time() - start < 5


def test_a_recipe_shows_that_it_holds_a_key_and_not_which() -> None:
    settings = {"wandb_api_key": Setting(value="KEY", origin="mine.yaml:2"), "seed": Setting(value=1, origin="--seed")}
    masked = redact.masked(Recipe(kind=Kind.LORA, name="mine", description="", settings=settings))

    assert (masked.get("wandb_api_key"), str(masked.origin("wandb_api_key"))) == ("***", "mine.yaml:2")
    assert masked.get("seed") == 1


def test_no_run_takes_an_option_that_is_a_key() -> None:
    assert set(value_rules.OWNED) >= redact.KEYS
