"""`tokenizer.json` files as SentencePiece models."""

import copy
import json
from pathlib import Path

import pytest
import sentencepiece
from transformers_families import SENTENCES, save_metaclip_2, save_siglip_2, sentence_pieces

from keras_cmm.clip.inputs.tokenizer_json import bpe_proto, unigram_proto
from keras_cmm_runtime.errors import InputError

SAVES = {"gemma": (save_siglip_2, bpe_proto), "xlm": (save_metaclip_2, unigram_proto)}
PATH = Path("tokenizer.json")


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    read = {}
    for kind, (save, _) in SAVES.items():
        folder = tmp_path_factory.mktemp("tokenizer")
        save(folder)
        read[kind] = json.loads((folder / "tokenizer.json").read_text())
    return read


def model_of(proto):
    return sentencepiece.SentencePieceProcessor(model_proto=proto)


@pytest.mark.parametrize("kind", SAVES)
def test_the_model_is_the_one_that_it_was_made_from(contents, kind):
    ours, expected = model_of(SAVES[kind][1](contents[kind], PATH)), model_of(sentence_pieces(kind))
    texts = [*SENTENCES, "", "a  b", "🐈\n\ncat", "ﬁve", "catdogcatdog sees", " a "]
    assert ours.encode(texts, out_type=str) == expected.encode(texts, out_type=str)
    if kind == "gemma":
        assert ours.encode(texts) == expected.encode(texts)


def damaged(content, *keys, value):
    content = copy.deepcopy(content)
    section = content
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    return content


@pytest.mark.parametrize("kind", SAVES)
@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("model",), [], "holds no .* vocabulary"),
        (("model", "type"), "WordPiece", "model.type='WordPiece'"),
        (("model", "vocab"), None, "form that transformers writes"),
        (("model", "vocab"), 3, "form that transformers writes"),
        (("added_tokens",), [{"id": 3}], "form that transformers writes"),
        (("added_tokens",), 5, "form that transformers writes"),
    ],
)
def test_damaged_files(contents, kind, keys, value, message):
    with pytest.raises(InputError, match=message):
        SAVES[kind][1](damaged(contents[kind], *keys, value=value), PATH)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model["merges"].pop(), "some of its merges are missing"),
        (lambda model: model["merges"].append(model["merges"][0]), "is made at two places"),
        (lambda model: model["merges"].append(["zq", "qz"]), "which are no tokens"),
        (lambda model: model["merges"].append(7), "form that transformers writes"),
        (lambda model: model["vocab"].update(a=10**9), "without gaps"),
        (lambda model: model["vocab"].update(a="x"), "form that transformers writes"),
        (lambda model: model.update(unk_token="<none>"), "no unknown token"),
        (lambda model: model["vocab"].update({"<0x00>": -1}), "without gaps"),
    ],
)
def test_merges_that_are_not_of_a_model(contents, change, message):
    changed = copy.deepcopy(contents["gemma"])
    change(changed["model"])
    with pytest.raises(InputError, match=message):
        bpe_proto(changed, PATH)


@pytest.mark.parametrize(
    ("normalizer", "message"),
    [
        ({"type": "Lowercase"}, "normalises texts with 'Lowercase'"),
        ({"type": "Precompiled", "precompiled_charsmap": "?"}, "table of characters is damaged"),
        ("x", "normalises texts with 'x'"),
    ],
)
def test_other_normalizers(contents, normalizer, message):
    with pytest.raises(InputError, match=message):
        unigram_proto(damaged(contents["xlm"], "normalizer", value=normalizer), PATH)


def test_tokens_in_another_order(contents):
    entries = contents["xlm"]["model"]["vocab"]
    with pytest.raises(InputError, match="do not begin with <s>, <pad>, </s>, <unk>"):
        unigram_proto(damaged(contents["xlm"], "model", "vocab", value=entries[1:]), PATH)
