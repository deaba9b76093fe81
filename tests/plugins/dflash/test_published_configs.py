"""Every published configuration is read as it is meant, or refused by the name of the field that stands in the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decodebench import ModelError
from decodebench.core.sdk.torch_layers.causal_lm import read_config
from decodebench.plugins.dflash.draft_config import DraftConfig

PUBLISHED = json.loads((Path(__file__).parents[2] / "data" / "dflash" / "published_configs.json").read_text())
DRAFTS = {draft["name"]: draft for draft in PUBLISHED["drafts"]}


def without_weights(folder: Path, config: dict) -> Path:
    """Write a checkpoint whose tensors are not there: nothing but the configuration is read."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("name", DRAFTS)
def test_a_published_draft_is_read_or_refused_by_its_field(tmp_path, name):
    draft = DRAFTS[name]
    folder = without_weights(tmp_path / "draft", draft["config"])
    if draft["refused"]:
        with pytest.raises(ModelError) as caught:
            DraftConfig.read(folder)
        assert str(folder / "config.json") in str(caught.value) and draft["refused"] in str(caught.value)
        return
    found, nested = DraftConfig.read(folder), draft["config"]["dflash_config"]
    assert [[*view] for view in zip(found.causal, found.windows, strict=True)] == draft["layers"]
    assert list(found.target_layer_ids) == nested["target_layer_ids"] and found.mask_token_id == nested["mask_token_id"]
    assert found.block_size == draft["config"].get("block_size", nested.get("block_size"))


@pytest.mark.parametrize("target", PUBLISHED["targets"], ids=lambda target: target["name"])
def test_a_published_target_is_read_with_its_draft_or_refused(tmp_path, target):
    folder = without_weights(tmp_path / "target", target["config"])
    if target["refused"]:
        with pytest.raises(ModelError) as caught:
            read_config(folder)
        assert str(folder / "config.json") in str(caught.value) and target["refused"] in str(caught.value)
        return
    for name in target["drafts"]:
        draft = DraftConfig.read(without_weights(tmp_path / "draft", DRAFTS[name]["config"]))
        draft.check_target(read_config(folder), folder / "config.json")
