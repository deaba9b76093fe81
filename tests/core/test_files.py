"""Files and folders appear whole or not at all."""

from __future__ import annotations

import pytest

from decodebench import write_whole
from decodebench.core.files import move_whole, size_text, whole_file, whole_folder

from ..refusals import refused


def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path):
    file = write_whole(tmp_path / "new" / "file", "old\r\n")
    with pytest.raises(ZeroDivisionError), whole_file(file) as scratch:
        scratch.write_text("half")
        raise ZeroDivisionError
    assert file.read_bytes() == b"old\r\n"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("place", ["folder", "file/below"])
def test_what_cannot_be_written_is_named(tmp_path, place):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with refused("write-failed", str(tmp_path / place)):
        write_whole(tmp_path / place, b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_of_two_that_make_a_folder_the_first_is_kept(tmp_path):
    with whole_folder(tmp_path / "entry") as second:
        (second / "by").write_text("second")
        with whole_folder(tmp_path / "entry") as first:
            (first / "by").write_text("first")
    assert (tmp_path / "entry" / "by").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["entry"]


def test_a_file_of_which_one_is_enough_is_kept_where_another_process_was_quicker(tmp_path):
    with whole_file(tmp_path / "store", replaces=False) as second:
        second.write_text("second")
        (tmp_path / "store").write_text("first")
    assert (tmp_path / "store").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_file_that_is_written_gets_its_name_with_its_content(tmp_path):
    (tmp_path / "log.part").write_text("whole")
    move_whole(tmp_path / "log.part", tmp_path / "log")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"log": "whole"}


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (512, "512 B"), (2**20, "1.0 MiB"), (1.5 * 2**30, "1.5 GiB"), (2**41, "2.0 TiB")]
)
def test_a_size_is_shown_in_the_unit_that_suits_it(size, text):
    assert size_text(size) == text
