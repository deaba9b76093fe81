"""Files and folders appear whole or not at all."""

from __future__ import annotations

import pytest

from decodebench import write_whole
from decodebench.core.files import whole_file, whole_folder

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
