"""What must still be fetched is asked for before the run, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_train_cli.environment import hub, network
from sdxl_train_cli.errors import ModelError, SetupError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.sdscripts.checkpoint import SDXL_BASE


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home without tokenizers."""
    return Home(tmp_path / "home")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were asked; none of them answers."""
    addresses: list[str] = []

    def unreachable(url: str) -> bool:
        addresses.append(url)
        return False

    monkeypatch.setattr(network, "is_reachable", unreachable)
    return addresses


def with_tokenizers(home: Home) -> Home:
    for name in hub.TOKENIZERS:
        (home.tokenizers / name).mkdir(parents=True)
        (home.tokenizers / name / "vocab.json").write_text("{}", encoding="utf-8")
    return home


def cached(hub_folder: Path) -> None:
    snapshot = hub_folder / f"models--{SDXL_BASE.replace('/', '--')}" / "snapshots" / "1f2e"
    snapshot.mkdir(parents=True)
    (snapshot / "model_index.json").write_text("{}", encoding="utf-8")


def test_where_all_is_here_nothing_is_asked(home: Home, asked: list[str]) -> None:
    hub.require("/models/base.safetensors", with_tokenizers(home), {})

    assert asked == []


def test_tokenizers_that_cannot_be_fetched_are_told_with_their_folder(home: Home, asked: list[str]) -> None:
    with pytest.raises(SetupError, match="two CLIP tokenizers") as caught:
        hub.require("/models/base.safetensors", home, {})

    assert str(home.tokenizers) in str(caught.value.problems[0].hint)
    assert asked == ["https://huggingface.co"]


def test_one_tokenizer_is_not_both(home: Home) -> None:
    with_tokenizers(home)
    (home.tokenizers / hub.TOKENIZERS[1]).rename(home.tokenizers / "elsewhere")

    assert not hub.has_tokenizers(home)


def test_a_model_that_cannot_be_fetched_is_told(home: Home, asked: list[str]) -> None:
    environ = {"HF_ENDPOINT": "https://mirror.example"}

    with pytest.raises(ModelError, match=r"https://mirror\.example can't be reached"):
        hub.require(SDXL_BASE, with_tokenizers(home), environ)

    assert asked == ["https://mirror.example"]


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("HF_HUB_CACHE", "."),
        ("HUGGINGFACE_HUB_CACHE", "."),
        ("HF_HOME", "hub"),
        ("XDG_CACHE_HOME", "huggingface/hub"),
    ],
)
@pytest.mark.usefixtures("asked")
def test_a_model_in_the_hubs_cache_is_here_already(home: Home, tmp_path: Path, name: str, below: str) -> None:
    cached(tmp_path / "cache" / below)

    hub.require(SDXL_BASE, with_tokenizers(home), {name: str(tmp_path / "cache")})


@pytest.mark.usefixtures("asked")
def test_the_hubs_cache_may_be_named_from_the_home_folder(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    cached(tmp_path / "cache" / "hub")

    hub.require(SDXL_BASE, with_tokenizers(home), {"HF_HOME": "~/cache"})


def test_what_answers_is_enough(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "is_reachable", lambda _url: True)
    monkeypatch.setattr(network, "status", lambda _url: 200)

    hub.require(SDXL_BASE, home, {})


@pytest.mark.parametrize(
    ("status", "environ", "is_refused"),
    [
        (404, {}, True),
        (401, {}, True),
        (404, {"HF_TOKEN": "x"}, True),
        (401, {"HF_TOKEN": "x"}, False),
        (503, {}, False),
        (None, {}, False),
    ],
)
def test_a_model_that_the_hub_does_not_have_is_refused(
    home: Home, monkeypatch: pytest.MonkeyPatch, status: int | None, environ: dict[str, str], is_refused: bool
) -> None:
    asked: list[str] = []

    def answer(url: str) -> int | None:
        asked.append(url)
        return status

    monkeypatch.setattr(network, "is_reachable", lambda _url: True)
    monkeypatch.setattr(network, "status", answer)
    told = ""
    try:
        hub.require("stabilityai/stable-difusion-xl", home, environ)
    except ModelError as error:
        told = str(error)

    assert ("has no public model stabilityai/stable-difusion-xl" in told) is is_refused
    assert asked == ["https://huggingface.co/stabilityai/stable-difusion-xl/resolve/main/model_index.json"]


@pytest.mark.parametrize("address", ["hf-mirror.example", "", "http://", "http://a b", "file:///nowhere"])
def test_an_address_of_another_form_is_out_of_reach_and_no_accident(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name)

    assert not network.is_reachable(address)
