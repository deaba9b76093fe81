"""``bundle``, ``rerun`` and ``history`` on stored experiments, as programs call them."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

STORED = Path(__file__).parents[1] / "data" / "own_logs"


def test_a_stored_experiment_is_bundled_and_followed(cli, tmp_path):
    shutil.copytree(STORED / "raw", tmp_path / "o" / "raw")
    made = cli("bundle", tmp_path / "o", "--experiment", "own", "--json")
    assert made.code == 0, made.err
    assert Path(made.json["file"]) == tmp_path / "o" / "own.zip" and len(made.json["cells"]) == 2
    with zipfile.ZipFile(tmp_path / "o" / "own.zip") as archive:
        assert set(archive.namelist()) == {"bundle.json", *made.json["files"]}
    assert cli("bundle", tmp_path / "o", "--to", tmp_path / "x.tar").code == 2
    assert cli("rerun", STORED / "own.toml", "-o", tmp_path / "new").code == 2
    assert not (tmp_path / "new").exists()
    found = cli("history", tmp_path / "o", "--metric", "ttft_s", "--json")
    assert found.code == 0 and found.json["unit"] == "s" and len(found.json["series"]) == 4
    assert cli("history", tmp_path / "o", "--metric", "nothing").code == 2
