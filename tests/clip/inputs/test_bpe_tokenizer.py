# ruff: noqa: RUF001 - look-alike characters are what is tested.
import json
import random
import shutil

import numpy as np
import pytest
from tiny_clip import tiny_vocabulary
from transformers import CLIPTokenizer

from keras_cmm.clip.inputs.bpe_tokenizer import openai_tokenizer, read_tokenizer
from keras_cmm.clip.inputs.tokenization import tokenize
from keras_cmm_runtime.errors import InputError

# Some texts are longer than the context, to compare how they are cut.
pytestmark = pytest.mark.filterwarnings("ignore:.*that the model reads, so the end is cut off")

LENGTH = 77
CHOSEN = [
    "",
    " ",
    "\n\t ",
    "a photo of a cat.",
    "A PHOTO OF A CAT",
    "don't can't we'll I'm he'd 'tis o'clock 'S",
    "a photo of <|endoftext|> nothing",
    "<|startoftext|>twice<|endoftext|><|endoftext|>",
    "<|endoftext",
    "</w> a</w> b",
    "naïve café, e\u0301 is é",
    "İstanbul ß ẞ Ǆ ŉ ﬁ ½ ² Ⅷ Ａ１",
    "𝕊𝕠 𝒻𝒶𝓃𝒸𝓎",
    "猫 と 犬, ภาษาไทย, עברית, العربية, क्षि, 한국어",
    "👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽 ☃️",
    "\u200b\u200d\ufeff zero width",
    "no\u00a0break\u2028line\u2029paragraph\x85next",
    "control \x00\x01\x7f characters",
    "\ud7ff\ue000\U0010ffff",
    "&amp; &lt;b&gt; are kept as they are",
    "x" * 5000,
    "word " * 2000,
    "3.14159 1,000,000 10^-5",
    "C++ / C# -- #hashtag @user https://example.org/?q=1&r=2",
    ":-) ;-) <3 !!! ??? ...",
]
RANGES = [(32, 127), (0xA0, 0x250), (0x370, 0x530), (0x4E00, 0x4F00), (0x1F300, 0x1F650)]


def varied_texts(count=1500):
    """Returns the chosen texts, then texts of mixed scripts and emoji, then of any characters."""
    generator = random.Random(0)
    pieces = [*(chr(code) for start, end in RANGES for code in range(start, end)), *" " * 400]
    pieces += ["\u0301", "\u0308", "\u200d", "\ufe0f", "\n", "<|endoftext|>", "n't", "'s"] * 5
    texts = list(CHOSEN)
    while len(texts) < count // 2:
        texts.append("".join(generator.choices(pieces, k=generator.randint(0, 80))))
    while len(texts) < count:
        codes = (generator.randrange(1, 0x110000) for _ in range(generator.randint(1, 40)))
        texts.append("".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000))
    return texts


def check_same_tokens(tokenizer, theirs, texts):
    ids = tokenize(tokenizer, texts, LENGTH)
    for text, row in zip(texts, ids, strict=True):
        expected = theirs(text, truncation=True, max_length=LENGTH)["input_ids"]
        assert row[: len(expected)].tolist() == expected, repr(text)
        assert set(row[len(expected) :].tolist()) <= {tokenizer.pad_token_id}, repr(text)


@pytest.fixture(scope="module")
def theirs():
    """transformers' tokenizer with OpenAI's vocabulary."""
    ours = openai_tokenizer()
    merges = [tuple(rule.split(" ")) for rule in ours.merges]
    return CLIPTokenizer(vocab=dict(ours.vocabulary), merges=merges)


def test_tokens_of_varied_texts_are_those_of_transformers(theirs):
    texts = varied_texts()
    assert len(set(texts)) > 1000
    check_same_tokens(openai_tokenizer(), theirs, texts)


def test_saved_by_transformers(theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    check_same_tokens(read_tokenizer(tmp_path), theirs, varied_texts(200))


def test_openai_vocabulary_has_its_known_size_and_order():
    tokenizer = openai_tokenizer()
    assert tokenizer.vocabulary_size() == 49408
    assert len(tokenizer.merges) == 49408 - 2 * 256 - 2
    assert (tokenizer.start_token_id, tokenizer.end_token_id) == (49406, 49407)
    # The first and last merge of OpenAI's file, so that a shifted table would show.
    assert (tokenizer.merges[0], tokenizer.merges[-1]) == ("i n", "jeky ll</w>")
    assert tokenizer.token_to_id("!") == 0
    assert tokenizer.token_to_id("in") == 512


def write_tokenizer(folder, vocabulary=None, merges=None):
    default_vocabulary, default_merges = tiny_vocabulary()
    content = json.dumps(default_vocabulary if vocabulary is None else vocabulary)
    (folder / "vocab.json").write_text(content)
    rules = default_merges if merges is None else merges
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *rules, ""]))
    return folder


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_two_files_and_one_are_the_same_tokenizer(tmp_path, line_end):
    two = write_tokenizer(tmp_path)
    text = (two / "merges.txt").read_text().replace("\n", line_end)
    (two / "merges.txt").write_bytes(text.encode())
    one = tmp_path / "one"
    vocabulary, merges = tiny_vocabulary()
    CLIPTokenizer(
        vocab=vocabulary, merges=[tuple(rule.split(" ")) for rule in merges]
    ).save_pretrained(one)
    np.testing.assert_array_equal(
        tokenize(read_tokenizer(two), CHOSEN, LENGTH), tokenize(read_tokenizer(one), CHOSEN, LENGTH)
    )


@pytest.mark.parametrize("as_text", [True, False])
def test_special_tokens_beside_the_vocabulary_and_both_forms_of_merges(tmp_path, as_text):
    vocabulary, merges = tiny_vocabulary()
    special = [
        {"content": token, "id": vocabulary.pop(token)}
        for token in ("<|startoftext|>", "<|endoftext|>")
    ]
    rules = merges if as_text else [rule.split(" ") for rule in merges]
    content = {"added_tokens": special, "model": {"vocab": vocabulary, "merges": rules}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    (tmp_path / "two").mkdir()
    expected = read_tokenizer(write_tokenizer(tmp_path / "two"))
    np.testing.assert_array_equal(
        tokenize(read_tokenizer(tmp_path), CHOSEN, LENGTH), tokenize(expected, CHOSEN, LENGTH)
    )


def test_no_texts():
    assert tokenize(openai_tokenizer(), [], LENGTH).shape == (0, LENGTH)


def without(token):
    return {key: value for key, value in tiny_vocabulary()[0].items() if key != token}


@pytest.mark.parametrize(
    ("vocabulary", "merges", "message"),
    [
        (without("<|endoftext|>"), None, r"no token <\|endoftext\|>"),
        (without("<|startoftext|>"), None, r"no token <\|startoftext\|>"),
        (tiny_vocabulary()[0] | {"later": 9999}, None, "must be the highest"),
        (tiny_vocabulary()[0] | {"text": "12"}, None, "must be ints >= 0"),
        (tiny_vocabulary()[0] | {"twin": 0}, None, "two tokens have the same id"),
        (None, ["a t</w>", "zz zz"], "rule 2 of its merges, 'zz zz', does not join two tokens"),
        (None, ["alone"], "rule 1 of its merges, 'alone', does not join"),
        (None, ["a t </w>"], "rule 1 of its merges, 'a t </w>', does not join"),
        ([1, 2], None, "is not a JSON object"),
    ],
)
def test_files_of_no_clip_tokenizer(tmp_path, vocabulary, merges, message):
    write_tokenizer(tmp_path, vocabulary, merges)
    with pytest.raises(InputError, match=message):
        read_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"model": {"vocab": [["a", -1.5]]}},
        {"model": {"vocab": {}}, "added_tokens": [{"id": 3}]},
        {"model": {"vocab": {}}, "added_tokens": "x"},
        {"model": {"vocab": {}, "merges": [3]}},
    ],
)
def test_tokenizer_json_of_another_form(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"tokenizer\.json: "):
        read_tokenizer(tmp_path)


def test_merges_that_are_no_text(tmp_path):
    write_tokenizer(tmp_path)
    (tmp_path / "merges.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match=r"merges\.txt: cannot be read"):
        read_tokenizer(tmp_path)


def test_vocabulary_without_merges_is_no_tokenizer(tmp_path):
    write_tokenizer(tmp_path)
    shutil.move(tmp_path / "merges.txt", tmp_path / "others.txt")
    with pytest.raises(InputError, match="has no tokenizer"):
        read_tokenizer(tmp_path)
