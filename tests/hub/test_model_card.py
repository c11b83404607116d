import json

import pytest
import yaml

from keras_cmm.hub.model_card import code, model_card

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "x\n\n# Download the weights from http:evil",
    "[click](http://evil)",
    "`</code><b>`` | a | b |",
    "photos_\udce9",
    "-->",
]


def card(names=("ant", "bee"), **more):
    run = {
        "class_names": list(names),
        "templates": ["a {}."],
        "descriptions": None,
        "images": [],
        "shots": 1,
        "seed": 1,
        "preset": "emoji_clip_tiny",
        "hyperparameters": {"alpha": 1.0},
        "versions": {"keras_cmm": "0"},
        "command": "keras-cmm fit photos",
    }
    return model_card(run | more)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_name_is_markdown_or_html(text):
    plain = card([text, "bee"], templates=[text], preset=text, command=text, descriptions={})
    assert plain.encode()
    outside = outside_code(plain)
    expected = outside_code(card(preset="a folder"))
    assert outside == expected


def outside_code(text):
    """Returns what a Markdown reader does not show as code. Lines stay lines."""
    rest, out = text, ""
    while "`" in rest:
        before, _, rest = rest.partition("`")
        fence = 1 + len(rest) - len(rest.lstrip("`"))
        rest = rest[fence - 1 :]
        parts = split_at_fence(rest, fence)
        assert parts is not None, text
        out, rest = out + before, parts
    return out + rest


def split_at_fence(text, length):
    start = 0
    while (found := text.find("`", start)) >= 0:
        stop = found + len(text[found:]) - len(text[found:].lstrip("`"))
        if stop - found == length:
            return text[stop:]
        start = stop
    return None


def test_a_bar_in_a_prompt_ends_no_cell():
    assert "| prompts | `a \\| {}` |\n" in card(templates=["a | {}"])


def test_plain_names_are_read_as_they_are():
    assert code("red fox") == "`red fox`"
    assert "`ant`, `bee`" in card()


def front_matter(text):
    _, matter, _ = text.split("---\n", 2)
    return yaml.safe_load(matter)


MEASURES = {
    "images": 30,
    "classes": 2,
    "top1": 90.0,
    "top1_interval": [74.4, 96.5],
    "macro_f1": 89.5,
    "trained_on": 0,
}


def test_the_metadata_are_yaml_that_the_hub_reads():
    found = front_matter(card(evaluation=MEASURES))
    assert found["library_name"] == "keras"
    assert found["license"] == "apache-2.0"
    assert found["pipeline_tag"] == "image-classification"
    assert "few-shot" in found["tags"]
    (model,) = found["model-index"]
    (result,) = model["results"]
    assert result["task"] == {"type": "image-classification"}
    accuracy, f1 = result["metrics"]
    assert (accuracy["type"], accuracy["value"]) == ("accuracy", 0.9)
    assert "Wilson's 95% interval 74.4-96.5%" in accuracy["name"]
    assert (f1["type"], f1["value"]) == ("f1", 0.895)
    assert "model-index" not in front_matter(card())
    huggingface_hub = pytest.importorskip("huggingface_hub")
    read = huggingface_hub.ModelCard(card(evaluation=MEASURES)).data
    assert [each.metric_type for each in read.eval_results] == ["accuracy", "f1"]
    assert read.license == "apache-2.0"


@pytest.mark.parametrize(
    ("trained_on", "text"),
    [
        (0, "none of which it was trained on"),
        (3, "it was trained on 3 of them, so this is too high"),
        (None, "whether it was trained on some of them is not known"),
    ],
)
def test_the_protocol_says_what_was_trained_on(trained_on, text):
    found = card(evaluation=MEASURES | {"trained_on": trained_on})
    assert "Protocol: 30 images of 2 classes, predicted once" in found
    assert text in found


@pytest.mark.parametrize(
    ("preset", "identifier"),
    [
        ("clip_vit_base_patch16", "mit"),
        ("clip_vit_large_patch14_336", "mit"),
        ("clip_vit_h_14_laion2b_s32b_b79k", "mit"),
        ("hf://openai/clip-vit-base-patch32", "mit"),
        ("laion/CLIP-ViT-B-16-laion2B-s34B-b88K", "mit"),
        ("laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K", "mit"),
        ("hf://keras/clip_vit_base_patch16", "mit"),
        ("siglip2_base_patch16_224", "apache-2.0"),
        ("metaclip_2_vit_huge_patch14_224", "cc-by-nc-4.0"),
        ("facebook/metaclip-b16-fullcc2.5b", "cc-by-nc-4.0"),
        ("medsiglip_900m_448", "unknown"),
        ("/home/ada/clip_vit_base_patch16", "unknown"),
        (None, "unknown"),
    ],
)
def test_licences_of_the_weights(preset, identifier):
    found = card(preset=preset)
    assert front_matter(found)["license"] == identifier
    assert ("unknown: ask its authors" in found) == (identifier == "unknown")


def test_what_is_not_known_is_left_out():
    found = model_card({"class_names": ["ant", "bee"]}, "hf://ada/pets", has_onnx=False)
    assert "(not named)" in found
    assert "hf://ada/pets" in found
    assert "OnnxClassifier" not in found
    assert "None" not in found
    assert "keras_cmm.json" not in found
    assert json.dumps("hf://ada/pets") in found
    there = model_card({"class_names": ["ant", "bee"]}, "hf://ada/pets")
    assert '`pip install "keras-cmm-runtime[hub]"`' in there
    assert '`pip install "keras-cmm-runtime"`' in card()
