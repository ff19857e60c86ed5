"""Only a run of ours is deleted, whole, and nothing beyond it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from kept_runs import US, keep, keep_with_files

from sdxl_train_cli import process
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.records import history, record, removal

only_posix = pytest.mark.skipif(process.WINDOWS, reason="makes symbolic links")
NOT_ROOT = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root deletes everything")


def remove(folder: Path, *, keep_result: bool = False) -> None:
    entry = history.load(folder)
    assert removal.problem(entry) is None
    removal.remove(removal.plan_deletion(entry, keep_result=keep_result))


def refusal(folder: Path) -> str:
    return str(removal.problem(history.load(folder)))


def test_a_run_is_deleted_with_all_that_is_in_it(tmp_path: Path) -> None:
    keep(tmp_path / "dog")
    remove(keep_with_files(tmp_path / "кот"))

    assert [path.name for path in tmp_path.iterdir()] == ["dog"]


def test_pictures_that_best_has_drawn_go_with_their_run(tmp_path: Path) -> None:
    folder = keep_with_files(tmp_path / "cat")
    (folder / record.GRID / "pictures").mkdir(parents=True)
    for path in (folder / record.GRID / "grid.json", folder / record.GRID / "pictures" / "a.png", folder / record.BEST):
        path.write_text("", encoding="utf-8")

    remove(folder)

    assert not folder.exists()


def test_the_result_is_kept_where_asked(tmp_path: Path) -> None:
    folder = keep_with_files(tmp_path / "cat")
    remove(folder, keep_result=True)

    assert [path.name for path in folder.iterdir()] == ["cat.safetensors"]


def test_what_is_told_beforehand_is_what_goes(tmp_path: Path) -> None:
    folder = keep_with_files(tmp_path / "cat")
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    whole = removal.plan_deletion(history.load(folder), keep_result=False)
    partly = removal.plan_deletion(history.load(folder), keep_result=True)

    assert (whole.files, whole.size_bytes, whole.kept) == (len(sizes), sum(sizes), None)
    assert partly.size_bytes == sum(sizes) - (folder / "cat.safetensors").stat().st_size
    assert "keeping cat.safetensors" in partly.words


def test_where_there_is_no_result_to_keep_it_is_told(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat", None)

    assert removal.plan_deletion(history.load(folder), keep_result=True).words.endswith("keeping nothing")
    remove(folder, keep_result=True)
    assert not folder.exists()


def test_a_running_run_is_not_deleted(tmp_path: Path) -> None:
    assert "cat is running" in refusal(keep(tmp_path / "cat", None, supervisor=US))


def test_a_run_that_was_started_while_the_question_stood_there_is_not_deleted(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat", None)
    deletion = removal.plan_deletion(history.load(folder), keep_result=False)
    keep(tmp_path / "now", None, supervisor=US)
    (tmp_path / "now" / "running.json").rename(folder / "running.json")

    with pytest.raises(UsageError, match="cat is running"):
        removal.remove(deletion)
    assert (folder / "run.json").exists()


@pytest.mark.parametrize("text", ["{}", "not ours", '{"name": "package"}'])
def test_a_record_that_is_not_ours_protects_its_folder(tmp_path: Path, text: str) -> None:
    folder = keep(tmp_path / "cat")
    (folder / "run.json").write_text(text, encoding="utf-8")

    assert "the record of" in refusal(folder)


def test_a_run_that_holds_another_is_not_deleted(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat")
    inner = keep(folder / "again" / "dog")

    assert f"holds another run: {inner}" in refusal(folder)


@only_posix
def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "cat.png").touch()
    (tmp_path / "base.safetensors").touch()
    folder = keep(tmp_path / "output" / "cat")
    (folder / "data").symlink_to(tmp_path / "pictures")
    (folder / "model.safetensors").symlink_to(tmp_path / "base.safetensors")
    (tmp_path / "output" / "link").symlink_to(folder)

    assert "is a link to" in refusal(tmp_path / "output" / "link")
    remove(folder)
    assert (tmp_path / "pictures" / "cat.png").exists()
    assert (tmp_path / "base.safetensors").exists()


@pytest.mark.parametrize("name", ["dog", "Cat", "cat "])
def test_a_result_that_the_record_calls_otherwise_is_not_deleted(tmp_path: Path, name: str) -> None:
    """Once, `--keep-result` kept what bore the record's name, found nothing, and deleted the result."""
    folder = keep_with_files(tmp_path / "cat", name=name)

    with pytest.raises(UsageError, match=r"its result can't be told apart from cat-000001\.safetensors"):
        removal.plan_deletion(history.load(folder), keep_result=True)
    remove(folder)
    assert (folder / "cat.safetensors").exists()


@pytest.mark.parametrize("name", ["cat/../dog", "", " ", "..", "/etc/passwd", "a\0b", "c:\\x", "n" * 300])
def test_a_record_whose_name_is_no_files_name_is_broken(tmp_path: Path, name: str) -> None:
    assert "the record of" in refusal(keep_with_files(tmp_path / "cat", name=name))


def test_a_renamed_folder_keeps_the_result_by_the_records_name(tmp_path: Path) -> None:
    keep_with_files(tmp_path / "cat", name="cat")
    folder = (tmp_path / "cat").rename(tmp_path / "best cat")
    remove(folder, keep_result=True)

    assert [path.name for path in folder.iterdir()] == ["cat.safetensors"]


def test_every_form_of_the_result_is_kept(tmp_path: Path) -> None:
    folder = keep_with_files(tmp_path / "cat")
    (folder / "cat.ckpt").touch()
    remove(folder, keep_result=True)

    assert sorted(path.name for path in folder.iterdir()) == ["cat.ckpt", "cat.safetensors"]


def test_a_run_without_a_result_keeps_its_checkpoints_where_a_result_was_asked_for(tmp_path: Path) -> None:
    folder = keep_with_files(tmp_path / "cat")
    (folder / "cat.safetensors").unlink()

    with pytest.raises(UsageError, match=r"cat has no cat\.safetensors"):
        removal.plan_deletion(history.load(folder), keep_result=True)


@only_posix
def test_a_result_that_is_a_link_stays_with_what_it_leads_to(tmp_path: Path) -> None:
    folder = keep_with_files(tmp_path / "cat")
    (folder / "cat.safetensors").unlink()
    (folder / "cat.safetensors").symlink_to("cat-step00000003.safetensors")
    remove(folder, keep_result=True)

    assert sorted(path.name for path in folder.iterdir()) == ["cat-step00000003.safetensors", "cat.safetensors"]


@only_posix
def test_a_result_that_is_a_link_to_nothing_is_told(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat")
    (folder / "cat.safetensors").symlink_to(tmp_path / "gone")

    with pytest.raises(UsageError, match="its result can't be told"):
        removal.plan_deletion(history.load(folder), keep_result=True)


def test_what_nothing_proves_to_be_the_runs_stays(tmp_path: Path) -> None:
    """A record that was copied among somebody's pictures would have taken them along."""
    folder = keep_with_files(tmp_path / "cat")
    (folder / "pictures").mkdir()
    (folder / "pictures" / "cat.png").touch()
    for name in ("notes.txt", "dog.safetensors", "cat-best.safetensors", "cat.png"):
        (folder / name).touch()
    (folder / "other-state").mkdir()
    deletion = removal.plan_deletion(history.load(folder), keep_result=False)
    removal.remove(deletion)

    stay = ["cat-best.safetensors", "cat.png", "dog.safetensors", "notes.txt", "other-state", "pictures"]
    assert sorted(path.name for path in folder.iterdir()) == stay
    assert "leaving what does not belong to the run: cat-best.safetensors, cat.png, " in deletion.words
    assert " and 1 more" in deletion.words


def test_all_that_a_run_makes_goes(tmp_path: Path) -> None:
    folder = keep_with_files(tmp_path / "cat")
    for name in ("metrics.jsonl", "dataset.json", "metadata-1.json", "report.html", "running.lock", "outcome.json",
                 f".{'0' * 16}.new", "cat-step00000004.safetensors.incomplete"):  # fmt: skip
        (folder / name).touch()
    for name in ("logs", "sample"):
        (folder / name).mkdir()
        (folder / name / "x").touch()
    (folder / "outcome.json").unlink()
    remove(folder)

    assert not folder.exists()


@only_posix
@NOT_ROOT
def test_what_cannot_be_deleted_is_told_and_the_record_stays(tmp_path: Path) -> None:
    folder = keep_with_files(tmp_path / "cat")
    (folder / "cat-state" / "model.bin").touch()
    (folder / "cat-state").chmod(0o500)
    try:
        with pytest.raises(UsageError, match=r"model\.bin can't be deleted"):
            remove(folder)
    finally:
        (folder / "cat-state").chmod(0o700)

    assert history.load(folder).problem is None
