"""Prompts: from class names and templates to the texts that CLIP encodes."""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_cmm.errors import InputError
from keras_cmm.utils.files import read_json_object
from keras_cmm.utils.listed import listed
from keras_cmm.utils.same_names import same_names

_PHOTO = ("a photo of a {}.",)

# The 80 ImageNet templates published with CLIP, in their order
# (openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb).
_IMAGENET_80 = (
    "a bad photo of a {}.",
    "a photo of many {}.",
    "a sculpture of a {}.",
    "a photo of the hard to see {}.",
    "a low resolution photo of the {}.",
    "a rendering of a {}.",
    "graffiti of a {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a tattoo of a {}.",
    "the embroidered {}.",
    "a photo of a hard to see {}.",
    "a bright photo of a {}.",
    "a photo of a clean {}.",
    "a photo of a dirty {}.",
    "a dark photo of the {}.",
    "a drawing of a {}.",
    "a photo of my {}.",
    "the plastic {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a painting of the {}.",
    "a painting of a {}.",
    "a pixelated photo of the {}.",
    "a sculpture of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a plastic {}.",
    "a photo of the dirty {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a rendering of the {}.",
    "a {} in a video game.",
    "a photo of one {}.",
    "a doodle of a {}.",
    "a close-up photo of the {}.",
    "a photo of a {}.",
    "the origami {}.",
    "the {} in a video game.",
    "a sketch of a {}.",
    "a doodle of the {}.",
    "a origami {}.",
    "a low resolution photo of a {}.",
    "the toy {}.",
    "a rendition of the {}.",
    "a photo of the clean {}.",
    "a photo of a large {}.",
    "a rendition of a {}.",
    "a photo of a nice {}.",
    "a photo of a weird {}.",
    "a blurry photo of a {}.",
    "a cartoon {}.",
    "art of a {}.",
    "a sketch of the {}.",
    "a embroidered {}.",
    "a pixelated photo of a {}.",
    "itap of the {}.",
    "a jpeg corrupted photo of the {}.",
    "a good photo of a {}.",
    "a plushie {}.",
    "a photo of the nice {}.",
    "a photo of the small {}.",
    "a photo of the weird {}.",
    "the cartoon {}.",
    "art of the {}.",
    "a drawing of the {}.",
    "a photo of the large {}.",
    "a black and white photo of a {}.",
    "the plushie {}.",
    "a dark photo of a {}.",
    "itap of a {}.",
    "graffiti of the {}.",
    "a toy {}.",
    "itap of my {}.",
    "a photo of a cool {}.",
    "a photo of a small {}.",
    "a tattoo of the {}.",
)

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
    "imagenet_80": _IMAGENET_80,
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
    """Turns a folder or label name into words for a prompt; the label itself stays as it is.

    A leading CUB-style number goes, underscores become spaces, CamelCase is split where every word
    has two lowercase letters or more, and white space is collapsed.

    Args:
        name: A class name.

    Returns:
        The words, or `name` where nothing would be left.

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
    """Looks up prompt templates by name, or checks given ones.

    Args:
        template: A key of `PROMPT_TEMPLATES`, a template with exactly one `{}`, or several of
            these.

    Returns:
        The templates, each with one `{}` for the class name.

    Raises:
        InputError: If a template is neither a known key nor has exactly one `{}`.

    Example:
        >>> resolve_templates("dtd")
        ('{} texture.',)
        >>> resolve_templates(["dtd", "a {} fabric."])
        ('{} texture.', 'a {} fabric.')
    """
    if not isinstance(template, str):
        if not isinstance(template, Sequence) or not template:
            raise InputError(f"`template` must be one template or several, not {template!r}.")
        return tuple(each for part in template for each in resolve_templates(_text(part)))
    if template in PROMPT_TEMPLATES:
        return PROMPT_TEMPLATES[template]
    rest = template.replace("{}", "", 1)
    if "{}" in template and "{" not in rest and "}" not in rest:
        return (template,)
    near = difflib.get_close_matches(template, PROMPT_TEMPLATES, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise InputError(
        f"{template!r} is no known prompt template{hint} and has no single {{}} for the class "
        f"name; the known ones are {', '.join(PROMPT_TEMPLATES)}."
    )


def read_descriptions(path: str | Path, class_names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Reads descriptions of classes: a JSON file `{class: [sentence, ...]}`, as CuPL's.

    Args:
        path: The JSON file, UTF-8.
        class_names: The classes; the file must have each of them, under the same name, and no
            others.

    Returns:
        The sentences of each class, white space collapsed, in the order of `class_names`.

    Raises:
        InputError: If the file cannot be read, is not of that form or has other classes.

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
                f"{path}: the value of {name!r} must be a list of one or more non-empty sentences."
            )
    same = same_names(content, class_names)
    content = {same.get(name, name): sentences for name, sentences in content.items()}
    missing = [name for name in dict.fromkeys(class_names) if name not in content]
    if missing:
        raise InputError(f"{path}: has no descriptions of {listed(missing)}; add them.")
    unknown = [name for name in content if name not in set(class_names)]
    if unknown:
        raise InputError(
            f"{path}: describes classes that are not asked for, {listed(unknown)}; remove them or "
            f"use the names of the labels."
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
    """Makes the prompts of each class: templates filled in, then its descriptions.

    Args:
        class_names: The classes.
        template: See `resolve_templates`; None to use descriptions only.
        descriptions: Sentences of each class, by its name in `class_names`; see
            `read_descriptions`.
        clean: Whether templates get `clean_class_name(name)` instead of the name. Defaults to True.

    Returns:
        For each class the list of its prompts.

    Raises:
        InputError: If a template cannot be used, a class has no list of descriptions, there are
            neither templates nor descriptions, or `class_names` is one text.

    Example:
        >>> build_prompts(["polka-dotted"], "dtd", {"polka-dotted": ["Round spots."]})
        [['polka-dotted texture.', 'Round spots.']]
    """
    if isinstance(class_names, str):
        raise InputError(f"`class_names` must be a list of names. Received: {class_names!r}")
    if template is None and descriptions is None:
        raise InputError("there is nothing to prompt with; give a `template` or `descriptions`.")
    templates = () if template is None else resolve_templates(template)
    if descriptions is not None:
        missing = [name for name in class_names if not descriptions.get(name)]
        if missing:
            raise InputError(f"`descriptions` has no sentence for {listed(missing)}; add them.")
        for name in class_names:
            if not _are_sentences(descriptions[name]):
                raise InputError(
                    "`descriptions` must have a list of one or more non-empty sentences for each "
                    f"class. Received for {name!r}: {descriptions[name]!r}"
                )
    prompts = []
    for name in class_names:
        words = clean_class_name(name) if clean else name
        # Not str.format: a class name or sentence may hold braces of its own.
        filled = [each.replace("{}", words) for each in templates]
        prompts.append(filled + list(descriptions[name] if descriptions else ()))
    return prompts


def _text(part: object) -> str:
    if not isinstance(part, str):
        raise InputError(f"`template` must hold texts only, not {part!r}.")
    return part


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Builds an object of the JSON; json itself would silently drop the first of two equal keys."""
    content = dict(pairs)
    if len(content) != len(pairs):
        repeated = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise InputError(f"has the class {repeated!r} twice; merge its sentences.")
    return content


def _are_sentences(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(sentence, str) and sentence.strip() for sentence in value)
    )
