import pytest

from keras_cmm_cli.model_card import code, model_card

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
    expected = outside_code(card())
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
