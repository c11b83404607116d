import random

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_clip import DIM, tiny_vocabulary

from keras_cmm.clip import TextEmbedder
from keras_cmm_runtime.errors import InputError


@pytest.fixture(scope="module")
def embedder(tiny_model):
    return TextEmbedder(tiny_model, batch_size=4)


@pytest.fixture(scope="module")
def theirs():
    """transformers' own tokenizer with the vocabulary of the tiny preset."""
    from transformers import CLIPTokenizer

    vocabulary, merges = tiny_vocabulary()
    return CLIPTokenizer(vocab=vocabulary, merges=[tuple(rule.split(" ")) for rule in merges])


def their_ids(theirs, text):
    return theirs(text, truncation=True, max_length=77)["input_ids"]


def check_tokens(embedder, theirs, text):
    ids = embedder.encoder.token_ids([text])[0].tolist()
    expected = their_ids(theirs, text)
    assert ids[: len(expected)] == expected
    assert set(ids[len(expected) :]) <= {embedder.encoder.clip_model.tokenizer.pad_token_id}


@pytest.mark.filterwarnings("ignore:.*that the model reads, so the end is cut off")
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a cat",
        "A  CAT\n",
        "don't",
        "naïve café",
        "猫 and 🐈",
        "x" * 200,
        "3.14",
        "dog. dog!",
    ],
)
def test_tokens_are_those_of_transformers(embedder, theirs, text):
    check_tokens(embedder, theirs, text)


@pytest.mark.filterwarnings("ignore:.*that the model reads, so the end is cut off")
@given(text=st.text(max_size=40))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tokens_of_any_text(embedder, theirs, text):
    check_tokens(embedder, theirs, text)


# The tiny model reads 77 tokens, and nearly each letter is one.
LONG = "a plant disease that shows as small round brown spots with a yellow border on the leaves "


def test_texts_that_are_cut_are_told(embedder):
    """Here two classes differ in what is cut off."""
    prompts = [["a cat", LONG + "of apples"], [LONG + "of grapes"]]
    with pytest.warns(UserWarning, match="2 of 3 texts are longer than the 77 tokens") as caught:
        prototypes = embedder.class_prototypes(prompts)
    # Keras may warn of its own use of numpy, which the project's options ignore elsewhere.
    caught = [warning for warning in caught if warning.category is UserWarning]
    assert len(caught) == 1
    assert repr(LONG[:80])[:-1] in str(caught[0].message)
    assert caught[0].filename == __file__
    assert prototypes.shape == (2, DIM)


def test_a_text_as_long_as_the_context_is_not_cut(embedder):
    embedder.encoder.token_ids(["x" * 75])
    with pytest.warns(UserWarning, match="1 of 1 texts is longer"):
        cut = embedder.encoder.token_ids(["x" * 75 + "y"])
    assert cut[0, -1] == embedder.encoder.clip_model.tokenizer.end_token_id


def test_a_text_of_megabytes(embedder):
    with pytest.raises(InputError, match=r"at most 100,000 characters.*10,000,000 characters") as e:
        embedder.embed(["a cat", "x" * 10_000_000])
    assert len(str(e.value)) < 300
    with pytest.raises(InputError, match="must be a list of str") as e:
        embedder.embed("x" * 10_000_000)
    assert len(str(e.value)) < 300


def test_embeddings_are_the_backbones(embedder):
    texts = ["a cat", "", "a much longer text than the others, cut where it must be"]
    backbone = embedder.encoder.clip_model.backbone
    whole = keras.ops.convert_to_numpy(
        backbone.get_text_embeddings(keras.ops.convert_to_tensor(embedder.encoder.token_ids(texts)))
    )
    expected = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.embed(texts), expected, atol=1e-5)


def test_batches_do_not_change_the_embeddings(embedder):
    generator = random.Random(0)
    texts = ["".join(generator.choices("abcdefgh ", k=generator.randint(0, 30))) for _ in range(9)]
    one_by_one = np.concatenate([embedder.embed([text]) for text in texts])
    np.testing.assert_allclose(embedder.embed(texts), one_by_one, atol=1e-5)


def test_no_texts(embedder):
    assert embedder.embed([]).shape == (0, DIM)


def test_class_prototypes_against_a_loop(embedder):
    prompts = [["a cat", "the cat", "one cat"], ["a dog"], ["a dog"]]
    expected = []
    for group in prompts:
        mean = np.zeros(DIM)
        for text in group:
            embedding = embedder.embed([text])[0].astype("float64")
            mean += embedding / np.linalg.norm(embedding) / len(group)
        expected.append(mean / np.linalg.norm(mean))
    prototypes = embedder.class_prototypes(prompts)
    assert prototypes.dtype == np.float32
    np.testing.assert_allclose(prototypes, expected, atol=1e-5)
    np.testing.assert_array_equal(prototypes[1], prototypes[2])


def test_a_text_is_no_list_of_texts(embedder):
    for texts in ("a cat", ["a cat", 3], [["a cat"]]):
        with pytest.raises(InputError, match=r"`texts` must be a list of str. Received: "):
            embedder.embed(texts)
    with pytest.raises(InputError, match="Received: 'a cat'"):
        embedder.embed("a cat")


@pytest.mark.parametrize(
    ("prompts", "received"),
    [
        (["a photo of an ant.", "a photo of a bee."], "'a photo of an ant.'"),
        ([["an ant"], "a bee"], "'a bee'"),
        ([["an ant"], []], r"\[\]"),
        ("an ant", "'a'"),
    ],
)
def test_a_class_has_a_list_of_prompts(embedder, prompts, received):
    with pytest.raises(InputError, match=f"for each class. Received for a class: {received}$"):
        embedder.class_prototypes(prompts)


def test_batch_size_is_checked(tiny_model):
    with pytest.raises(ValueError, match="`batch_size` must be an int >= 1"):
        TextEmbedder(tiny_model, batch_size=0)
