"""One backend opened for requests, and models found by name."""

from __future__ import annotations

import decodebench
from decodebench.core.records.serving import ServeRequest

from ..refusals import refused


def test_an_open_backend_answers_each_prompt(plugins):
    with decodebench.open_backend("faulty", "tiny:draft", options={"step_s": 0.0}) as opened:
        assert (opened.backend.name, opened.quantisation, opened.model.name) == ("faulty", "f32", "tiny:draft")
        asked = ServeRequest(kind="generate", prompts=("1 + 1 =", "2 + 2 ="), max_new_tokens=4)
        answers = opened.ask(asked)
        assert len(answers) == 2 and all(isinstance(answer, str) for answer in answers)
        assert opened.ask(asked) == answers
        assert opened.clipped == 0
        opened.ask(asked.model_copy(update={"prompts": ("1 " * 2 * opened.context_length, "2 + 2 =")}))
        assert opened.clipped == 1


def test_one_cell_is_opened_and_no_more(plugins):
    with refused("one-cell-needed", "'faulty'"):
        decodebench.open_backend("faulty", "tiny:draft", options={"step_s": [0.0, 1.0]})
    with refused("unknown-name", nearest="faulty"):
        decodebench.open_backend("fualty", "tiny:draft")


def test_a_model_is_found_by_name_or_by_path(plugins):
    found = decodebench.find_model("tiny:draft")
    assert (found.path / "config.json").is_file()
    assert decodebench.find_model(str(found.path)).content_hash == found.content_hash
    with refused("unknown-name", nearest="tiny:draft"):
        decodebench.find_model("tiny:drat")
