import hashlib
import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_cmm.clip.inputs.prompts import (
    PROMPT_TEMPLATES,
    build_prompts,
    clean_class_name,
    read_descriptions,
    resolve_templates,
)
from keras_cmm_runtime.errors import InputError


def test_every_template_has_one_place_for_the_name():
    for templates in PROMPT_TEMPLATES.values():
        assert templates
        assert all(template.count("{}") == 1 for template in templates)


@pytest.mark.parametrize(
    ("names", "template"),
    [
        (["ant", "b" * 10_000_000], "a photo of a {}."),
        (["ant"], "a photo of a {}." + "x" * 10_000_000),
        (["ant"], "x" * 10_000_000),
        (["ant"], ["{}", "{} " + "{" * 10_000_000]),
    ],
)
def test_megabytes_give_one_short_line(names, template):
    with pytest.raises(InputError, match="at most 100,000 characters") as caught:
        build_prompts(names, template)
    assert len(str(caught.value)) < 300


def test_megabytes_in_descriptions_give_one_short_line(tmp_path):
    path = tmp_path / "descriptions.json"
    for content in (
        {"x" * 10_000_000: ["a"]},
        {"x" * 10_000_000: 3},
        {"ant": ["a"], "y" * 10**6: ["b"]},
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(InputError) as caught:
            read_descriptions(path, ["ant"])
        assert len(str(caught.value)) < 500


def test_imagenet_ensembles():
    eighty = PROMPT_TEMPLATES["imagenet_80"]
    assert len(set(eighty)) == 80
    assert (eighty[0], eighty[39], eighty[79]) == (
        "a bad photo of a {}.",
        "a photo of a {}.",
        "a tattoo of the {}.",
    )
    # The digest of the list in openai/CLIP d05afc4, which is also that in open_clip 89fb801.
    assert (
        hashlib.sha256("\n".join(eighty).encode()).hexdigest()
        == "4f976686fb651bb5803d4689dcd849f75efe0ef19a3c801355bc9a6f03c8a5af"
    )
    assert len(set(PROMPT_TEMPLATES["imagenet_7"])) == 7
    assert set(PROMPT_TEMPLATES["imagenet_7"]) < set(eighty)


@pytest.mark.parametrize("shift", ["v2", "sketch", "a", "r"])
def test_shifts_are_prompted_as_imagenet(shift):
    assert PROMPT_TEMPLATES[f"imagenet_{shift}"] == PROMPT_TEMPLATES["imagenet"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ceiling_fan", "ceiling fan"),
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("AnnualCrop", "Annual Crop"),
        ("HerbaceousVegetation", "Herbaceous Vegetation"),
        ("001.AnnualCrop", "Annual Crop"),
        (" SeaLake\n", "Sea Lake"),
        ("  two \t words\n", "two words"),
        ("__init__", "init"),
        ("Forest", "Forest"),
        ("2008 Acura TL Type-S", "2008 Acura TL Type-S"),
        ("Annual CropField", "Annual CropField"),
        ("CropField_old", "CropField old"),
        ("Type-S", "Type-S"),
        ("iPhone", "iPhone"),
        ("t-shirt", "t-shirt"),
        ("BMW", "BMW"),
        ("McDonald", "McDonald"),
        ("YoYo", "YoYo"),
        ("3.5 inch disk", "3.5 inch disk"),
        ("747-400", "747-400"),
        ("300.5", "300.5"),
        ("707.", "707."),
        ("polka-dotted", "polka-dotted"),
        ("___", "___"),
        ("", ""),
    ],
)
def test_clean_class_name(name, words):
    assert clean_class_name(name) == words


@given(st.text())
def test_cleaning_leaves_no_underscore_or_double_space(name):
    words = clean_class_name(name)
    if words != name:
        assert words
        assert "_" not in words
        assert words.split() == words.split(" ")


def test_resolve_templates():
    assert resolve_templates("oxford_pets") == ("a photo of a {}, a type of pet.",)
    assert resolve_templates("art of {}") == ("art of {}",)
    assert resolve_templates(["dtd", "art of {}"]) == ("{} texture.", "art of {}")
    assert len(resolve_templates(("imagenet_80", "imagenet_7"))) == 87


@pytest.mark.parametrize(
    "template",
    [
        "",
        "a photo",
        "{} and {}",
        "{0}",
        "{name}",
        "a {} of {name}",
        "{{}}",
        "a {} }",
        [],
        ["{}", ""],
        ["{}", 3],
        [["{}"]],
        None,
        3,
        {"{}"},
    ],
)
def test_refuses_templates(template):
    with pytest.raises(InputError, match="template"):
        resolve_templates(template)


def test_near_keys_are_suggested():
    with pytest.raises(InputError, match="did you mean 'imagenet_80'") as caught:
        resolve_templates("imagenet-80")
    assert all(key in str(caught.value) for key in PROMPT_TEMPLATES)
    with pytest.raises(InputError) as caught:
        resolve_templates("zzzzzz")
    assert "did you mean" not in str(caught.value)


@given(st.text() | st.text(alphabet="{} a"))
def test_any_text_is_a_template_or_refused(text):
    try:
        templates = resolve_templates(text)
    except InputError:
        return
    assert templates == PROMPT_TEMPLATES.get(text, (text,))
    assert all(template.count("{}") == 1 for template in templates)


def test_build_prompts():
    assert build_prompts(["car_side", "bee"], ["a {}.", "the {}."]) == [
        ["a car side.", "the car side."],
        ["a bee.", "the bee."],
    ]
    assert build_prompts(["car_side"], "a {}.", clean=False) == [["a car_side."]]
    assert build_prompts(["{}", "{x}"], "a {}.") == [["a {}."], ["a {x}."]]
    assert build_prompts([], "dtd") == []


def test_descriptions_follow_the_templates():
    descriptions = {"car_side": ("It has wheels.",), "bee": ["It flies.", "It is {striped}."]}
    assert build_prompts(["bee", "car_side"], "a {}.", descriptions) == [
        ["a bee.", "It flies.", "It is {striped}."],
        ["a car side.", "It has wheels."],
    ]
    assert build_prompts(["bee"], None, descriptions) == [["It flies.", "It is {striped}."]]


def test_build_prompts_refuses():
    with pytest.raises(InputError, match="must not both be None"):
        build_prompts(["bee"], None)
    with pytest.raises(InputError, match="no sentence for 'bee'"):
        build_prompts(["bee"], "dtd", {"ant": ["Small."]})


@pytest.mark.parametrize(
    "sentences", ["An ant.", ["An ant.", 3], ["An ant.", " "], {"a": "b"}, [["An ant."]], 3]
)
def test_descriptions_that_are_no_lists_of_sentences(sentences):
    with pytest.raises(InputError, match=r"Received for 'ant': ") as caught:
        build_prompts(["bee", "ant"], "dtd", {"ant": sentences, "bee": ["A bee."]})
    assert str(caught.value).endswith(repr(sentences))


def test_one_class_name_is_no_list():
    with pytest.raises(InputError, match=r"`class_names` must be a list of names. Received: 'ant'"):
        build_prompts("ant", "dtd")


def test_read_descriptions(tmp_path):
    path = tmp_path / "cupl.json"
    path.write_text(json.dumps({"bee": [" It\nflies. "], "ant": ["Small.", "é"]}), "utf-8-sig")
    read = read_descriptions(str(path), ["ant", "bee", "bee"])
    assert read == {"ant": ("Small.", "é"), "bee": ("It flies.",)}
    assert list(read) == ["ant", "bee"]


REFUSED_DESCRIPTIONS = {
    "": "not JSON",
    "{": "not JSON",
    "[" * 200_000: "not JSON",
    "1" * 5000: "not JSON",
    "[]": "not a JSON object",
    "{}": "no descriptions of 'ant', 'bee'",
    '"bee"': "not a JSON object",
    '{"bee": "It flies."}': "the value of 'bee'",
    '{"bee": []}': "the value of 'bee'",
    '{"bee": [""]}': "the value of 'bee'",
    '{"bee": ["\\n "]}': "the value of 'bee'",
    '{"bee": ["It flies.", 3]}': "the value of 'bee'",
    '{"bee": {"a": "b"}}': "the value of 'bee'",
    '{"bee": ["a"], "bee": ["b"]}': "'bee' twice",
    '{"bee": ["a"], "ant": ["b"], "cat": ["c"]}': "describes unknown classes, 'cat'",
    '{"bee": ["a"]}': "no descriptions of 'ant'",
}


@pytest.mark.parametrize("content", REFUSED_DESCRIPTIONS)
def test_descriptions_refused(tmp_path, content):
    path = tmp_path / "cupl.json"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_descriptions(path, ["ant", "bee"])
    assert REFUSED_DESCRIPTIONS[content] in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_up_to_five_missing_classes_are_listed(tmp_path):
    path = tmp_path / "cupl.json"
    path.write_text('{"bee": ["a"]}')
    with pytest.raises(InputError, match="'a', 'b', 'c', 'd', 'e' and 21 more"):
        read_descriptions(path, [*string.ascii_lowercase, "bee"])


def test_descriptions_that_cannot_be_read(tmp_path):
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(InputError, match="cannot be read"):
            read_descriptions(path, ["ant"])
    (tmp_path / "latin.json").write_bytes('{"é": ["a"]}'.encode("latin-1"))
    with pytest.raises(InputError, match="not JSON"):
        read_descriptions(tmp_path / "latin.json", ["é"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("descriptions")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["ant", "bee", ""]), inner),
    max_leaves=8,
)


@settings(max_examples=300)
@given(content=st.binary() | st.text() | json_values.map(json.dumps))
def test_random_descriptions_are_read_or_refused(folder, content):
    path = folder / "random.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
    try:
        read = read_descriptions(path, ["ant", "bee"])
    except InputError:
        return
    assert list(read) == ["ant", "bee"]
    assert all(sentence.strip() for sentences in read.values() for sentence in sentences)
