"""What this installation has, as data: the command line only prints it."""

from __future__ import annotations

import json
import os
import time

from decodebench.core.api.inventory import listings
from decodebench.core.api.inventory.doctor import examine
from decodebench.core.api.inventory.prepared import prepared_models, prune


def test_what_plugins_provide_is_plain_data(plugins):
    backends = {entry["name"]: entry for entry in listings.backends()}
    assert backends["faulty"]["available"] and backends["faulty"]["devices"] == []
    assert {entry["backend"] for entry in listings.quantisations(["faulty"])} == {"faulty"}
    bits = [entry["bits_per_weight"] or 0 for entry in listings.quantisations()]
    assert bits == sorted(bits, reverse=True)
    assert "tiny:target" in {entry["name"] for entry in listings.models()}
    assert "tiny-gsm" in {entry["name"] for entry in listings.tasks()}
    assert json.dumps([listings.backends(), listings.models(), listings.tasks(), listings.skipped()])


def test_the_doctor_says_what_is_good_and_what_mends_the_rest(plugins):
    checks = {check.what: check for check in examine()}
    assert checks["Python"].is_good and checks["backend faulty"].is_good
    assert checks["memory"].found.endswith("iB")


def test_prepared_models_are_chosen_by_name_age_and_room(tmp_path, monkeypatch):
    monkeypatch.setenv("DECODEBENCH_CACHE", str(tmp_path))
    for days, name in enumerate(("old", "new")[::-1]):
        folder = tmp_path / f"{name}-{'0' * 15}{days}"
        folder.mkdir()
        (folder / "weights").write_bytes(b"x" * 1000)
        (folder / "SHA256SUMS").touch()
        os.utime(folder / "SHA256SUMS", (time.time() - 86400 * days,) * 2)
    names = [entry.path.name.partition("-")[0] for entry in prepared_models()]
    assert names == ["new", "old"]
    assert [entry.path.name[:3] for entry in prepared_models(older_than_days=0.5)] == ["old"]
    assert [entry.path.name[:3] for entry in prepared_models(beyond_bytes=1500)] == ["old"]
    prune(prepared_models(name="o*"))
    assert [entry.path.name[:3] for entry in prepared_models()] == ["new"]
