"""Metadata without what tells of a person or a machine."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from sdxl_train_cli.lora_files import scrubbing, traces
from sdxl_train_cli.lora_files.traces import KnownNames

KNOWN = KnownNames(frozenset({"annabell"}), frozenset({"render-box"}))
SECRETS = ("annabell", "render-box", "kitchenware")
"""The user, the host, and a folder: none may be left anywhere."""
PLANTED = (
    "/home/annabell/kitchenware/base.safetensors",
    "/mnt/kitchenware/base.safetensors",
    "see /data/kitchenware/pics for more",
    "dir:/data/kitchenware/pics",
    "//nas/kitchenware/base.safetensors",
    r"C:\Users\annabell\kitchenware\base.safetensors",
    "D:/kitchenware/base.safetensors",
    r"\\nas01\kitchenware\base.safetensors",
    r"\\?\C:\kitchenware\x",
    "~/kitchenware/base.safetensors",
    "~annabell/kitchenware/x",
    r"%USERPROFILE%\kitchenware\x",
    "$HOME/kitchenware/x",
    "file:///srv/kitchenware/base.safetensors",
    "made by annabell",
    "trained on RENDER-BOX",
    "annabell@example.org",
    "https://annabell:hunter2@example.org/base",
    "http://render-box:7860/",
    "see home/annabell/x",
    "\N{FULLWIDTH SOLIDUS}home\N{FULLWIDTH SOLIDUS}annabell/x",
    r"\u002fhome\u002fannabell\u002fkitchenware\u002fx",
    quote("/home/annabell/kitchenware/x", safe=""),
    quote(quote("/home/annabell/kitchenware/x", safe=""), safe=""),
)
WRAPPED = (
    lambda text: text,
    json.dumps,
    lambda text: json.dumps({"a": [{"b": text}]}),
    lambda text: json.dumps({text: 1}),
    lambda text: json.dumps({"inner": json.dumps({"deep": json.dumps([text])})}),
    lambda text: f"LoraConfig(path={text!r}, r=4)",
    lambda text: f"first line\n{text}\nlast",
    lambda text: f"--pretrained={text}",
)
KEYS = (
    *{key for key, _ in scrubbing.rules()},
    "modelspec.description",
    "ss_optimizer",
    "ss_network_args",
    "unheard_of",
)


def everything(found: scrubbing.Scrubbed) -> str:
    """All that is left, as plain text too."""
    return json.dumps(dict(found.kept)) + "\n".join((*found.kept, *found.kept.values()))


@pytest.mark.parametrize("text", PLANTED)
def test_a_planted_trace_is_gone_wherever_metadata_has_room_for_it(text: str) -> None:
    for key in KEYS:
        for wrap in WRAPPED:
            found = scrubbing.scrub({key: wrap(text), "ss_steps": "10"}, KNOWN)

            left = everything(found)
            assert found.kept["ss_steps"] == "10"
            assert not [secret for secret in SECRETS if secret in left.lower()], (key, wrap(text), left)
            assert all(traces.find(value, KNOWN) is None for value in found.kept.values())


@pytest.mark.parametrize("text", PLANTED)
def test_a_planted_trace_in_a_key_takes_the_key_away(text: str) -> None:
    found = scrubbing.scrub({text: "1", f"ss_{text}": "2"}, KNOWN)

    assert not found.kept
    assert len(found.removed) == 2


def test_a_path_keeps_its_file_name_where_that_tells_nothing() -> None:
    found = scrubbing.scrub({"ss_sd_model_name": "/home/annabell/models/sd_xl_base_1.0.safetensors"}, KNOWN)

    assert found.kept == {"ss_sd_model_name": "sd_xl_base_1.0.safetensors"}
    assert found.changed[0].why == "the base's path, where sd-scripts did not find it as a file"


def test_a_name_on_the_hub_is_no_path() -> None:
    metadata = {
        "ss_sd_model_name": "stabilityai/stable-diffusion-xl-base-1.0",
        "ss_optimizer": "torch.optim.adamw.AdamW",
    }

    assert scrubbing.scrub(metadata, KNOWN).kept == metadata


def test_what_is_said_of_the_training_stays() -> None:
    metadata = {
        "ss_network_dim": "32", "ss_resolution": "(1024, 1024)", "modelspec.author": "A. Painter", "ss_seed": "42",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora", "ss_network_module": "networks.lora",
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models", "ss_keep_tokens": "0",
        "ss_network_args": '{"conv_dim": 16}', "sshs_model_hash": "ab" * 32, "ss_lr_scheduler": "cosine",
        "modelspec.trigger_phrase": "zwx cat", "ss_sd_scripts_commit_hash": "cd" * 20,
        "ss_text_encoder_lr": "[1e-05, 0.0]",
        "ss_bucket_info": '{"buckets": {"0": {"resolution": [1024, 1024], "count": 3}}, "mean_img_ar_error": 0.0}',
        "modelspec.usage_hint": "50/50 with another, <lora:x:0.8>, works and/or not", "ss_max_token_length": "None",
    }  # fmt: skip

    assert scrubbing.scrub(metadata, KNOWN).kept == metadata


def test_tags_stay_and_their_folders_become_numbers() -> None:
    tags = {"10_annas wedding": {"1girl": 3, ":/": 1, "^_^": 2, r"fate \(series\)": 4, "@_@": 1, "d:": 1}}
    metadata = {
        "ss_tag_frequency": json.dumps(tags),
        "ss_dataset_dirs": json.dumps({"10_annas wedding": {"n_repeats": 10, "img_count": 3}}),
        "ss_datasets": json.dumps([{"subsets": [{"image_dir": "10_annas wedding", "num_repeats": 10}]}]),
    }

    found = scrubbing.scrub(metadata, KNOWN)

    assert json.loads(found.kept["ss_tag_frequency"]) == {"folder 1": tags["10_annas wedding"]}
    assert json.loads(found.kept["ss_dataset_dirs"]) == {"folder 1": {"n_repeats": 10, "img_count": 3}}
    assert json.loads(found.kept["ss_datasets"]) == [{"subsets": [{"image_dir": "folder 1", "num_repeats": 10}]}]


def test_captions_go_when_they_are_not_to_be_told() -> None:
    metadata = {
        "ss_tag_frequency": '{"a": {"1girl": 3}}',
        "ss_datasets": '[{"tag_frequency": {"a": {"x": 1}}, "n": 2}]',
    }

    found = scrubbing.scrub(metadata, KNOWN, keep_captions=False)

    assert found.kept == {"ss_datasets": '[{"n": 2}]'}
    assert [change.why for change in found.removed] == ["the words of the captions"]


def test_a_moment_keeps_its_day() -> None:
    metadata = {"modelspec.date": "2026-11-27T16:30:12", "ss_training_started_at": "1764260000.1", "ss_session_id": "7"}

    assert scrubbing.scrub(metadata, KNOWN).kept == {"modelspec.date": "2026-11-27"}


def test_a_user_whose_home_folder_is_named_is_looked_for_everywhere() -> None:
    metadata = {"ss_sd_model_name": "/home/winifred/x.safetensors", "note": "a gift of Winifred", "other": "fine"}

    found = scrubbing.scrub(metadata, KnownNames())

    assert found.kept == {"ss_sd_model_name": "x.safetensors", "other": "fine"}
    assert [(change.key, change.why) for change in found.removed] == [("note", "it has a user's name")]


def test_a_user_name_that_thousands_share_takes_nothing_away() -> None:
    metadata = {"ss_tag_frequency": '{"folder 1": {"user interface": 1, "tree root": 2}}'}

    assert scrubbing.scrub(metadata, KnownNames(frozenset({"root", "user"}), frozenset({"localhost"}))).kept == metadata


@pytest.mark.parametrize(
    "text",
    ["hf_abcdefghijklmnopqrstuvwx", "api_key=abcdef123456", "10.0.12.7", "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeK"],
)
def test_keys_and_addresses_are_found(text: str) -> None:
    assert not scrubbing.scrub({"note": f"use {text}"}, KNOWN).kept


def test_json_that_sets_a_key_twice_can_hide_nothing() -> None:
    twice = r'{"a": "\u002fhome\u002fbob\u002fx", "a": 1}'

    assert not scrubbing.scrub({"note": twice}, KNOWN).kept


def test_json_too_deep_to_be_searched_goes() -> None:
    found = scrubbing.scrub({"note": "[" * 60 + '"a word"' + "]" * 60}, KNOWN)

    assert "a word" not in found.kept["note"]
    assert found.changed[0].why == "it has JSON too deep to be searched"


def test_scrubbing_twice_changes_nothing_more() -> None:
    metadata = {key: f"/home/annabell/{key}.safetensors" for key in KEYS}
    once = scrubbing.scrub(metadata, KNOWN)

    again = scrubbing.scrub(once.kept, KNOWN)

    assert (again.kept, again.removed, again.changed) == (once.kept, (), ())


def test_ten_thousand_tags_take_no_long_time() -> None:
    tags = json.dumps({"folder 1": {f"tag number {number}": number for number in range(10_000)}})

    assert scrubbing.scrub({"ss_tag_frequency": tags}, KNOWN).kept == {"ss_tag_frequency": tags}
