"""TensorBoard's event files, read as they grow; the bytes are those of the formats' definitions."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from event_file import record
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli.sdscripts import scalars
from sdxl_train_cli.sdscripts.scalars import EventFileTail, LoggedScalars


def test_what_is_logged_at_once_is_read_as_one() -> None:
    content = record(300, {"loss/current": 0.5}) + record(300, {"lr/unet": 0.25}) + record(301, {"loss/current": 1.5})

    assert scalars.parse(content) == (
        [
            LoggedScalars(300, {"loss/current": 0.5, "lr/unet": 0.25}, 1.7e9),
            LoggedScalars(301, {"loss/current": 1.5}, 1.7e9),
        ],
        len(content),
    )


def test_a_name_that_comes_again_is_a_logging_of_its_own() -> None:
    found, _ = scalars.parse(record(1, {"loss": 1.0}) + record(1, {"loss": 2.0}))

    assert [each.values["loss"] for each in found] == [1.0, 2.0]


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_record_that_is_half_written_waits_for_the_rest(cut: int) -> None:
    whole, half = record(1, {"loss": 1.0}), record(2, {"loss": 2.0})

    assert scalars.parse(whole + half[:-cut]) == ([LoggedScalars(1, {"loss": 1.0}, 1.7e9)], len(whole))


def test_the_tail_gives_only_what_is_new(tmp_path: Path) -> None:
    old = tmp_path / "1" / "events.out.tfevents.1"
    old.parent.mkdir()
    old.write_bytes(record(1, {"loss": 1.0}))
    tail = EventFileTail(tmp_path, scalars.event_files(tmp_path))
    new = tmp_path / "2" / "network_train" / "events.out.tfevents.2"
    new.parent.mkdir(parents=True)
    new.write_bytes(record(2, {"loss": 2.0}) + record(3, {"loss": 3.0})[:20])

    assert [each.step for each in tail.read()] == [2]
    assert tail.read() == []

    new.write_bytes(record(2, {"loss": 2.0}) + record(3, {"loss": 3.0}))
    assert [each.step for each in tail.read()] == [3]


def test_a_folder_that_is_not_there_gives_nothing(tmp_path: Path) -> None:
    assert EventFileTail(tmp_path / "absent").read() == []


@given(st.binary(max_size=400))
def test_no_bytes_whatsoever_raise(content: bytes) -> None:
    found, length = scalars.parse(content)

    assert length <= len(content)
    assert all(each.values for each in found)


@given(st.binary(min_size=1, max_size=200))
def test_no_event_whatsoever_raises(event: bytes) -> None:
    content = struct.pack("<Q", len(event)) + bytes(4) + event + bytes(4)

    assert scalars.parse(content)[1] == len(content)
