"""Making prompts from class names, prompt templates and descriptions."""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.files import read_json_object
from keras_cmm_runtime.utils.listed import listed
from keras_cmm_runtime.utils.same_names import same_names
from keras_cmm_runtime.utils.shortened import shortened

# Filled into each other, longer names and templates would take all the memory.
_MAX_CHARACTERS = 100_000

_PHOTO = ("a photo of a {}.",)

# The 80 ImageNet templates published with CLIP, in their order
# (openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb).
_IMAGENET_80 = Path(__file__).parents[2] / "assets" / "prompt_templates" / "imagenet_80.txt"

PROMPT_TEMPLATES: dict[str, tuple[str, ...]] = {
    "imagenet": _PHOTO,
    "imagenet_7": (
        "itap of a {}.",
        "a bad photo of the {}.",
        "a origami {}.",
        "a photo of the large {}.",
        "a {} in a video game.",
        "art of the {}.",
        "a photo of the small {}.",
    ),
    "imagenet_80": tuple(_IMAGENET_80.read_text("utf-8").splitlines()),
    "caltech101": _PHOTO,
    "oxford_pets": ("a photo of a {}, a type of pet.",),
    "stanford_cars": _PHOTO,
    "oxford_flowers": ("a photo of a {}, a type of flower.",),
    "food101": ("a photo of {}, a type of food.",),
    "fgvc_aircraft": ("a photo of a {}, a type of aircraft.",),
    "sun397": _PHOTO,
    "dtd": ("{} texture.",),
    "eurosat": ("a centered satellite photo of {}.",),
    "ucf101": ("a photo of a person doing {}.",),
    "imagenet_v2": _PHOTO,
    "imagenet_sketch": _PHOTO,
    "imagenet_a": _PHOTO,
    "imagenet_r": _PHOTO,
}

_NUMBER = re.compile(r"^\d{3}\.(?=[^\W\d_])")
_CAMEL_CASE = re.compile(r"(?:[A-Z][a-z]{2,}){2,}")


def clean_class_name(name: str) -> str:
    """Turns a class name into words for a prompt.

    A leading number as in CUB is removed, underscores become spaces, CamelCase is split if each of
    its words has two or more lowercase letters, and white space is collapsed.

    Args:
        name: A class name.

    Returns:
        The words, or `name` if nothing would be left.

    Example:
        >>> clean_class_name("001.Black_footed_Albatross")
        'Black footed Albatross'
        >>> clean_class_name("AnnualCrop"), clean_class_name("iPhone"), clean_class_name("Type-S")
        ('Annual Crop', 'iPhone', 'Type-S')
    """
    words = _NUMBER.sub("", name.strip())
    if _CAMEL_CASE.fullmatch(words):
        words = re.sub(r"(?=[A-Z])", " ", words)
    return " ".join(words.replace("_", " ").split()) or name


def resolve_templates(template: str | Sequence[str]) -> tuple[str, ...]:
    """Returns prompt templates that are given by name or as text.

    Args:
        template: A key of `PROMPT_TEMPLATES`, a template with exactly one `{}`, or a list of these.

    Returns:
        The templates, each with one `{}` for the class name.

    Raises:
        InputError: If a template is not a key and does not have exactly one `{}`.

    Example:
        >>> resolve_templates("dtd")
        ('{} texture.',)
        >>> resolve_templates(["dtd", "a {} fabric."])
        ('{} texture.', 'a {} fabric.')
    """
    given = [template] if isinstance(template, str) else template
    is_list = isinstance(given, Sequence) and len(given) > 0
    if not is_list or not all(isinstance(each, str) for each in given):
        raise InputError(
            "`template` must be a prompt template or a list of them. Received: "
            f"template={shortened(repr(template))}"
        )
    return tuple(each for name in given for each in _resolve(name))


def _resolve(template: str) -> tuple[str, ...]:
    if template in PROMPT_TEMPLATES:
        return PROMPT_TEMPLATES[template]
    _check_length("template", template)
    rest = template.replace("{}", "", 1)
    if "{}" in template and "{" not in rest and "}" not in rest:
        return (template,)
    near = difflib.get_close_matches(template[:100], PROMPT_TEMPLATES, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise InputError(
        "`template` must have exactly one {} for the class name, or be one of "
        f"{', '.join(PROMPT_TEMPLATES)}. Received: template={shortened(template)!r}{hint}"
    )


def read_descriptions(path: str | Path, class_names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Reads descriptions of classes from a JSON file `{class: [sentence, ...]}`, as in CuPL.

    Args:
        path: The JSON file, UTF-8.
        class_names: The classes. The file must have exactly these, under the same names.

    Returns:
        The sentences of each class, in the order of `class_names`, with white space collapsed.

    Raises:
        InputError: If the file cannot be read, has another form or has other classes.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "descriptions.json")
        ...     _ = path.write_text('{"bee": ["A bee is striped."], "ant": ["An ant is small."]}')
        ...     read_descriptions(path, ["ant", "bee"])
        {'ant': ('An ant is small.',), 'bee': ('A bee is striped.',)}
    """
    path = Path(path)
    mend = "expected {class: [sentences]}"
    content = read_json_object(path, mend, object_pairs_hook=_without_repeats)
    for name, sentences in content.items():
        if not _are_sentences(sentences):
            raise InputError(
                f"{path}: the value of {shortened(name)!r} must be a list of one or more non-empty "
                "sentences."
            )
    same = same_names(content, class_names)
    content = {same.get(name, name): sentences for name, sentences in content.items()}
    missing = [name for name in dict.fromkeys(class_names) if name not in content]
    if missing:
        raise InputError(f"{path}: has no descriptions of {listed(missing)}; add them.")
    unknown = [name for name in content if name not in set(class_names)]
    if unknown:
        raise InputError(
            f"{path}: describes unknown classes, {listed(unknown)}; remove them or use the names "
            "of the labels."
        )
    return {
        name: tuple(" ".join(sentence.split()) for sentence in content[name])
        for name in class_names
    }


def build_prompts(
    class_names: Sequence[str],
    template: str | Sequence[str] | None,
    descriptions: Mapping[str, Sequence[str]] | None = None,
    clean: bool = True,
) -> list[list[str]]:
    """Makes the prompts of each class: the filled templates, then its descriptions.

    Args:
        class_names: The classes.
        template: See `resolve_templates`. `None` to use descriptions only.
        descriptions: Sentences of each class, by its name in `class_names`. See
            `read_descriptions`.
        clean: Whether to fill templates with `clean_class_name(name)` instead of the name.

    Returns:
        For each class a list of prompts.

    Raises:
        InputError: If a template cannot be used, a class has no list of descriptions, there are
            neither templates nor descriptions, `class_names` is one str, or a name or template has
            more than 100,000 characters.

    Example:
        >>> build_prompts(["polka-dotted"], "dtd", {"polka-dotted": ["Round spots."]})
        [['polka-dotted texture.', 'Round spots.']]
    """
    if isinstance(class_names, str):
        raise InputError(
            f"`class_names` must be a list of names. Received: {shortened(class_names)!r}"
        )
    for name in class_names:
        _check_length("class name", str(name))
    if template is None and descriptions is None:
        raise InputError("`template` and `descriptions` must not both be None; give one of them.")
    templates = () if template is None else resolve_templates(template)
    if descriptions is not None:
        missing = [name for name in class_names if not descriptions.get(name)]
        if missing:
            raise InputError(f"`descriptions` has no sentence for {listed(missing)}; add them.")
        for name in class_names:
            if not _are_sentences(descriptions[name]):
                raise InputError(
                    "`descriptions` must have a list of one or more non-empty sentences for each "
                    f"class. Received for {name!r}: {shortened(repr(descriptions[name]))}"
                )
    prompts = []
    for name in class_names:
        words = clean_class_name(name) if clean else name
        # `str.format` would fail at a class name that contains braces.
        filled = [each.replace("{}", words) for each in templates]
        prompts.append(filled + list(descriptions[name] if descriptions else ()))
    return prompts


def _check_length(what: str, text: str) -> None:
    if len(text) > _MAX_CHARACTERS:
        raise InputError(
            f"a {what} must have at most {_MAX_CHARACTERS:,} characters; shorten it. Received: "
            f"{len(text):,} characters, {shortened(text)!r}"
        )


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Makes a dict and refuses repeated keys. `json` would keep only the last value of a key."""
    content = dict(pairs)
    if len(content) != len(pairs):
        repeated = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise InputError(f"has the class {shortened(repeated)!r} twice; merge its sentences.")
    return content


def _are_sentences(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(sentence, str) and sentence.strip() for sentence in value)
    )
