"""Chats are rendered as transformers renders them, whatever their template, and a hostile one does no harm."""

from __future__ import annotations

import json
import time

import pytest

from decodebench import ModelError, UsageError
from decodebench.core.sdk.chat.template import ChatTemplate
from decodebench.plugins.reference.family import WEIGHTS_FOLDER

from .chat_templates import TEMPLATES

transformers = pytest.importorskip("transformers")

CHATS = [
    [("user", "Is 1 < 2 & 'a' > \"b\"?")],
    [("system", "Be brief."), ("user", " naïve café 🙂\n")],
    [("user", "a"), ("assistant", "<think>\nhm\n</think>\n\nb </s>"), ("user", "c")],
]
TOKENS = {
    "bos_token": {"__type": "AddedToken", "content": "<s>", "lstrip": False, "normalized": False},
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
}


def model_folder(folder, **config):
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text((WEIGHTS_FOLDER / "target" / "tokenizer.json").read_text())
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **TOKENS, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def rendered_by_transformers(tokenizer, chat, **arguments):
    turns = [{"role": role, "content": content} for role, content in chat]
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return model_folder(tmp_path_factory.mktemp("chat") / "model")


@pytest.fixture(scope="module")
def tokenizer(folder):
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_text_is_that_of_transformers(folder, tokenizer, name):
    ours = ChatTemplate(folder, TEMPLATES[name], ChatTemplate.read(with_template(folder)).tokens)
    tokenizer.chat_template = TEMPLATES[name]
    for chat in CHATS:
        for arguments in ({}, {"enable_thinking": False}, {"bos_token": "<other>"}):
            try:
                expected = rendered_by_transformers(tokenizer, chat, **arguments)
            except Exception as error:  # noqa: BLE001 - a template can raise whatever Python can
                with pytest.raises(ModelError, match="cannot be rendered"):
                    ours.render(chat, arguments)
                assert not isinstance(error, AssertionError)
            else:
                assert ours.render(chat, arguments) == expected


def with_template(folder):
    (folder / "chat_template.jinja").write_text("x")
    return folder


@pytest.mark.parametrize(
    ("entry", "files", "expected"),
    [
        ("entry", {}, "entry"),
        ([{"name": "default", "template": "listed"}, {"name": "tool_use", "template": "no"}], {}, "listed"),
        ("entry", {"chat_template.jinja": "file"}, "file"),
        (None, {"chat_template.jinja": "file", "additional_chat_templates/rag.jinja": "no"}, "file"),
    ],
)
def test_the_template_is_the_one_that_transformers_takes(tmp_path, entry, files, expected):
    folder = model_folder(tmp_path / "model", **({} if entry is None else {"chat_template": entry}))
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert ChatTemplate.read(folder).render(CHATS[0]) == expected == rendered_by_transformers(theirs, CHATS[0])


@pytest.mark.parametrize("has_decoder", [False, True])
@pytest.mark.parametrize(
    "config", [{}, {"image_token": "<image>"}, {"extra_special_tokens": {"audio_token": "<audio>"}}], ids=str
)
def test_tokens_have_the_names_that_transformers_gives_them(tmp_path, config, has_decoder):
    names = ("bos_token", "unk_token", "image_token", "audio_token", "extra_special_tokens")
    template = "|".join(f"{{{{ {name} }}}}" for name in names)
    if has_decoder:  # then the older file does not count
        flags = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
        config = config | {"added_tokens_decoder": {"462": {"content": "<|endoftext|>", "special": True, **flags}}}
    folder = model_folder(tmp_path / "model", chat_template=template, **config)
    (folder / "special_tokens_map.json").write_text(json.dumps({"unk_token": "<older>"}))
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert ChatTemplate.read(folder).render(CHATS[0]) == rendered_by_transformers(theirs, CHATS[0])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (None, "has no chat template; leave --chat out"),
        (
            [{"name": "rag", "template": "x"}, {"name": "tool_use", "template": "y"}],
            "none is called default: rag, tool_use",
        ),
    ],
)
def test_a_missing_template_is_named(tmp_path, entry, words):
    with pytest.raises(ModelError, match=words):
        ChatTemplate.read(model_folder(tmp_path / "model", chat_template=entry))


def test_arguments_that_a_template_does_not_read_are_refused(folder):
    template = ChatTemplate(folder, TEMPLATES["thinking switched off"], {})
    template.check_arguments({"enable_thinking": True})
    with pytest.raises(UsageError, match="'enable_thinkin' .*did you mean 'enable_thinking'"):
        template.check_arguments({"enable_thinkin": True})
    with pytest.raises(UsageError, match="'messages' is set by decodebench itself"):
        template.check_arguments({"messages": []})


HOSTILE = {
    "memory": "{{ 'a' * 10 ** 11 }}",
    "doubling": (
        "{% set n = namespace(x='a' * 1000) %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}"
    ),
    "padding": "{{ 'a' | center(10 ** 12) }}",
    "size": "{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "nesting": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.system('id') }}",
    "functions": "{{ raise_exception.__globals__.keys() }}",
    "import": "{% import 'os' as os %}{{ os }}",
    "changed messages": "{{ messages.append(1) }}",
    "no template": "{% if %}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_is_contained(folder, name):
    with pytest.raises(ModelError, match="its chat template cannot be rendered: "):
        ChatTemplate(folder, HOSTILE[name], {}).render(CHATS[0])


@pytest.mark.nightly  # ten seconds of a whole core
def test_an_endless_template_is_stopped_and_the_next_one_rendered(folder):
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    template = ChatTemplate(folder, endless, {})
    began = time.monotonic()
    with pytest.raises(ModelError, match="it takes longer than 10 s"):
        template.render(CHATS[0])
    assert time.monotonic() - began < 60
    template.source = "{{ messages[0].content }}"
    assert template.render([("user", "hi")]) == "hi"
