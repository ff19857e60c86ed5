"""What a person may give as a dataset besides a plain folder: each is read as the same pictures and captions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli, write_pictures
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli.dataset import checking, config_file, metadata_file, sources, survey, trainer_config, untagged
from sdxl_train_cli.dataset.checking import DatasetSource
from sdxl_train_cli.dataset.folders import TrainingPictures
from sdxl_train_cli.errors import DatasetError
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override


def bare(folder: Path) -> Path:
    """Three pictures without captions."""
    return write_pictures(folder, caption=None, size=(1024, 1024))


def found(data: Path, trigger: str | None = None) -> TrainingPictures:
    return sources.scan(data, regularisation=None, repeats=None, trigger=trigger)


def captions(data: Path, tmp_path: Path) -> dict[str, str]:
    seen = survey.survey(found(data), cache_folder=tmp_path / "cache").seen
    return {each.facts.path.name: each.caption.text if each.caption else "" for each in seen}


def as_json(folder: Path) -> Path:
    entries = {"0.png": {"caption": "a cat", "tags": "black, small"}, str(folder / "1.png"): {"caption": "two cats"},
               "2.png": {"tags": "cats"}}  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(entries), encoding="utf-8")
    return folder / "meta.json"


def as_lines(folder: Path) -> Path:
    lines = ({"image_path": "0.png", "caption": "a cat", "tags": ["black", "small"]},
             {"image_path": "1.png", "caption": "two cats"}, {"image_path": "2.png", "tags": "cats"})  # fmt: skip
    (folder / "meta.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n", encoding="utf-8")
    return folder / "meta.jsonl"


def as_table(folder: Path) -> Path:
    rows = 'file_name,text\n0.png,"a cat, black, small"\n1.png,two cats\n2.png,cats\n'
    (folder / "metadata.csv").write_text(rows, encoding="utf-8")
    return folder


def as_split(folder: Path) -> Path:
    inner = folder / "train"
    inner.mkdir()
    for picture in sorted(folder.glob("*.png")):
        picture.rename(inner / picture.name)
    lines = ({"file_name": "0.png", "text": "a cat, black, small"}, {"file_name": "1.png", "text": "two cats"},
             {"file_name": "2.png", "text": "cats"})  # fmt: skip
    (inner / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder


def as_config(folder: Path) -> Path:
    as_json(folder)
    path = folder.parent / "cats.toml"
    path.write_text(
        f'[[datasets]]\n[[datasets.subsets]]\nmetadata_file = "{folder.name}/meta.json"\n', encoding="utf-8"
    )
    return path


FORMS = (as_json, as_lines, as_table, as_split, as_config)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_tells_the_same_pictures_and_captions(form: Callable[[Path], Path], tmp_path: Path) -> None:
    data = form(bare(tmp_path / "мои кошки"))

    assert captions(data, tmp_path) == {"0.png": "a cat, black, small", "1.png": "two cats", "2.png": "cats"}
    assert found(data).count == 3


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_a_config_that_needs_no_folder(form: Callable[[Path], Path], tmp_path: Path) -> None:
    pictures = found(form(bare(tmp_path / "cats")))

    (file,) = trainer_config.metadata(pictures, tmp_path)
    entries = trainer_config.metadata(pictures, tmp_path)[file]
    (subset,) = trainer_config.config(pictures, tmp_path)["datasets"][0]["subsets"]  # type: ignore[index]
    assert subset == {"metadata_file": str(file), "num_repeats": 1}
    assert all(Path(name).is_file() for name in entries)
    assert {entry["image_size"] == [1024, 1024] for entry in entries.values()} == {True}  # type: ignore[index]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_checked_and_fixed(form: Callable[[Path], Path], tmp_path: Path, cli: Cli) -> None:
    data = form(bare(tmp_path / "cats"))
    (next(tmp_path.rglob("1.png"))).write_bytes(b"no picture")

    checked = cli("dataset", "check", data)
    fixed = cli("dataset", "fix", data, "--to", tmp_path / "better")

    assert checked.code == 4
    assert "1.png" in checked.stdout
    assert fixed.code == 4, fixed.stderr
    assert (tmp_path / "better" / "0.txt").read_text(encoding="utf-8") == "a cat, black, small\n"
    assert not (tmp_path / "better" / "1.txt").exists()


def test_captions_beside_the_pictures_come_before_an_imagefolders_metadata(tmp_path: Path) -> None:
    folder = as_table(write_pictures(tmp_path / "cats"))

    assert set(captions(folder, tmp_path).values()) == {"a photo of a cat"}


def test_an_imagefolder_of_parquet_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = bare(tmp_path / "cats")
    (folder / "metadata.parquet").write_bytes(b"PAR1")

    with pytest.raises(DatasetError, match="parquet can't be read here") as raised:
        found(folder)

    assert raised.value.problems[0].hint == "save it as metadata.csv or metadata.jsonl"


def test_a_picture_without_words_gets_the_trigger(tmp_path: Path) -> None:
    folder = bare(tmp_path / "cats")
    (folder / "meta.json").write_text('{"0.png": {}, "1.png": {"caption": "ohwx cat"}}', encoding="utf-8")

    pictures = found(folder / "meta.json", trigger="ohwx")
    entries = next(iter(trainer_config.metadata(pictures, tmp_path).values()))

    assert [entry["caption"] for entry in entries.values()] == ["ohwx", "ohwx cat"]  # type: ignore[index]
    assert "2.png" in str(pictures.notes[0])


WRONG = {
    "a.json": ("[1]", "holds no settings"),
    "b.json": ('{"0.png": "a cat"}', "'0.png' is not an object with a caption"),
    "c.json": ("{", "is not JSON"),
    "d.json": ("{}", "names no picture"),
    "e.json": ('{"0.png": {"caption": 1}}', "has a caption that is not text"),
    "f.json": ('{"0.png": {}, "0.png": {}}', "'0.png' is set twice"),
    "g.jsonl": ('{"image_path": "0.png"}\n{"image_path": "./0.png"}', "g.jsonl:2: names ./0.png a second time"),
    "h.jsonl": ('{"image_path": "0.png"}\nno json', "h.jsonl:2: is not JSON"),
    "i.jsonl": ('{"caption": "a cat"}', "i.jsonl:1: names no picture"),
    "j.csv": ("picture,words\n0.png,a cat\n", "has the columns picture, words"),
    "k.json": ('{"gone.png": {}, "also gone.png": {}}', "names pictures that do not exist: gone.png, also gone.png"),
    "l.json": ('{"l.json": {}}', "names files that sd-scripts does not read as pictures: l.json"),
    "m.toml": ("datasets = 1", "has no [[datasets]]"),
    "n.toml": ("[[datasets]]\nbatch_sise = 2\n[[datasets.subsets]]\nimage_dir = '.'",
               "'batch_sise' is not a known key"),
    "o.toml": ("[[datasets]]\nbatch_size = '2'\n[[datasets.subsets]]\nimage_dir = '.'",
               "dataset 1: batch_size is a whole number, not '2'"),
    "p.toml": ("[[datasets]]\n[[datasets.subsets]]\nnum_repeats = 2", "dataset 1, subset 1: names no image_dir"),
    "q.toml": ("[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'gone'", "does not exist"),
    "r.toml": ("[[datasets]]\nresolution='512'\n[[datasets.subsets]]\nimage_dir='.'", "a size or two, not '512'"),
    "s.toml": ("[[datasets]]\n[[datasets.subsets]]\nmetadata_file = 'gone.json'", "gone.json: cannot be read"),
    "t.toml": ("[[datasets]]\n[[datasets.subsets]]\nimage_dir = '.'\ncaption_extension = 'txt'", "begins with a dot"),
    "u.toml": ("[[datasets]]\nsubsets = [1]", "subset 1: is not a table of keys"),
    "v.toml": ("not toml", "is not TOML"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_in_a_file_is_told_with_its_place(name: str, tmp_path: Path) -> None:
    content, told = WRONG[name]
    file = bare(tmp_path / "cats") / name
    file.write_text(content, encoding="utf-8")

    with pytest.raises(DatasetError) as raised:
        found(file)

    assert told in "\n".join(map(str, raised.value.problems))


def test_a_config_sets_options_of_the_run_and_a_typed_flag_wins(tmp_path: Path) -> None:
    cats, dogs = bare(tmp_path / "cats"), write_pictures(tmp_path / "dogs")
    path = tmp_path / "all.json"
    general = {"resolution": [512, 768], "shuffle_caption": True, "caption_extension": ".txt"}
    subsets = [
        {"image_dir": cats.name, "class_tokens": "cat", "num_repeats": 3, "shuffle_caption": False, "keep_tokens": 2},
        {"image_dir": str(dogs), "is_reg": True},
    ]
    content = {"general": general, "datasets": [{"batch_size": 4, "subsets": subsets}]}
    path.write_text(json.dumps(content), encoding="utf-8")

    read = config_file.read(path)
    recipe = presets.load(Kind.LORA, "dim32-gc", (*read.overrides, Override("train_batch_size", 2, "--batch-size")))
    first, second = trainer_config.config(found(path), tmp_path)["datasets"][0]["subsets"]  # type: ignore[index]

    assert recipe.get("resolution") == "512,768"
    assert recipe.get("train_batch_size") == 2
    assert str(recipe.settings["resolution"].origin) == str(path)
    assert recipe.get("shuffle_caption") is True  # so that rules see it
    assert recipe.get("keep_tokens") == 2
    assert first == {"image_dir": str(cats), "num_repeats": 3, "caption_extension": ".txt", "is_reg": False,
                     "class_tokens": "cat", "shuffle_caption": False, "keep_tokens": 2}  # fmt: skip
    assert (second["is_reg"], second["shuffle_caption"]) == (True, True)


def test_what_sd_scripts_can_not_do_with_metadata_is_refused(tmp_path: Path) -> None:
    file = as_json(bare(tmp_path / "cats"))
    off = [Override(name, None, "--set") for name in ("cache_latents", "cache_latents_to_disk")]
    full = presets.load(Kind.DREAMBOOTH, "gc", [*off, Override("validation_split", 0.5, "--set")])
    lora = presets.load(Kind.LORA, "dim32-gc", off)

    kinds = {finding.kind for finding in checking.check(DatasetSource(file), full).errors}

    assert {"metadata-uncached", "metadata-split"} <= kinds
    assert checking.check(DatasetSource(file), lora).errors == []
    with pytest.raises(DatasetError, match="--reg is given"):
        checking.check(DatasetSource(file, regularisation=file.parent), lora)


def test_the_same_pictures_and_captions_have_the_same_fingerprint_until_a_caption_changes(tmp_path: Path) -> None:
    folder = bare(tmp_path / "cats")
    before = trainer_config.fingerprint(found(as_json(folder)))

    assert trainer_config.fingerprint(found(as_lines(folder))) == before
    (folder / "meta.json").write_text('{"0.png": {"caption": "a dog"}}', encoding="utf-8")
    assert trainer_config.fingerprint(found(folder / "meta.json")) != before


def with_folders(folder: Path, *subsets: dict[str, object]) -> Path:
    path = folder / "all.json"
    path.write_text(json.dumps({"datasets": [{"subsets": subsets}]}), encoding="utf-8")
    return path


def test_folders_of_a_config_are_fixed_into_folders_that_train_as_often(tmp_path: Path, cli: Cli) -> None:
    cats = write_pictures(tmp_path / "мои кошки", caption=None)
    (cats / "0.cap").write_text("a cat", encoding="utf-8")
    write_pictures(tmp_path / "5_dogs")
    write_pictures(tmp_path / "reg")
    data = with_folders(
        tmp_path,
        {"image_dir": "мои кошки", "num_repeats": 3, "caption_extension": ".cap"},
        {"image_dir": "5_dogs", "num_repeats": 2, "class_tokens": "a dog"},
        {"image_dir": "reg", "is_reg": True},
    )

    fixed = cli("dataset", "fix", data, "--to", tmp_path / "better", "--keep-duplicates")

    assert fixed.code == 0, fixed.stderr
    repeats = {each.image_dir.name: each.num_repeats for each in found(tmp_path / "better").subsets}
    assert repeats == {"3_мои кошки": 3, "2_a dog": 2}
    assert (tmp_path / "better" / "3_мои кошки" / "0.txt").read_text(encoding="utf-8") == "a cat\n"
    assert "reg is for regularisation, and left out" in fixed.stderr


def test_a_folder_that_a_config_names_twice_is_fixed_once(tmp_path: Path, cli: Cli) -> None:
    write_pictures(tmp_path / "cats", caption=None)
    data = with_folders(tmp_path, {"image_dir": "cats"}, {"image_dir": "cats"})

    fixed = cli("dataset", "fix", data, "--to", tmp_path / "better", "--keep-duplicates")

    assert fixed.code == 0, fixed.stderr
    assert "listed twice" in fixed.stderr
    assert sorted(path.name for path in (tmp_path / "better").rglob("*.png")) == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize("form", FORMS)
def test_no_form_is_fixed_into_the_folder_of_its_pictures(
    form: Callable[[Path], Path], tmp_path: Path, cli: Cli
) -> None:
    data = form(bare(tmp_path / "cats"))
    place = next(tmp_path.rglob("0.png")).parent

    refused = cli("dataset", "fix", data, "--to", place / "new")

    assert refused.code == 2, refused.stderr
    assert not (place / "new").exists()


def test_pictures_whose_captions_stand_in_metadata_are_not_tagged_beside_it(tmp_path: Path) -> None:
    folder = as_table(bare(tmp_path / "cats"))

    with pytest.raises(DatasetError, match="are in metadata"):
        untagged.find_untagged(folder, overwrite=True)


def test_tags_of_a_configs_folder_get_the_suffix_that_it_looks_for(tmp_path: Path) -> None:
    bare(tmp_path / "cats")
    data = with_folders(tmp_path, {"image_dir": "cats", "caption_extension": ".cap"})

    captions_to_be = {job.caption.name for job in untagged.find_untagged(data, overwrite=False).jobs}

    assert captions_to_be == {"0.cap", "1.cap", "2.cap"}


def test_a_line_of_json_ends_where_the_line_ends(tmp_path: Path) -> None:
    folder = bare(tmp_path / "cats")
    line = json.dumps({"image_path": "0.png", "caption": "a\u2028cat"}, ensure_ascii=False)
    (folder / "meta.jsonl").write_bytes(f"{line}\r\n".encode())

    assert found(folder / "meta.jsonl").count == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["general", "datasets", "subsets", "image_dir", "metadata_file", "num_repeats", "batch_size"])


CONTENTS = st.dictionaries(KEYS, VALUES | st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=2), max_size=4)


def told(read: Callable[[Path], object], file: Path) -> list[str]:
    """What is said of a file; nothing where it is taken."""
    try:
        read(file)
    except DatasetError as error:
        return [problem.message for problem in error.problems]
    return []


@given(content=CONTENTS)
def test_whatever_a_config_holds_is_told_in_words(
    content: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "config.json"
    file.write_text(json.dumps(content), encoding="utf-8")

    assert all(told(config_file.read, file))


@given(content=st.text() | st.dictionaries(st.text(max_size=9), VALUES, max_size=3).map(json.dumps))
def test_whatever_a_metadata_file_holds_is_told_in_words(
    content: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for suffix in metadata_file.SUFFIXES:
        file = tmp_path_factory.getbasetemp() / f"metadata{suffix}"
        file.write_text(content, encoding="utf-8", errors="replace")

        assert all(told(lambda path: metadata_file.read(path, path.parent), file))
