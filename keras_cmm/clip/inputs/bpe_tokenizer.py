"""Making CLIP tokenizers from vocabulary files."""

from __future__ import annotations

import functools
import gzip
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_cmm.clip.inputs.clip_tokenizer_mend import mend_clip_tokenizer
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.files import read_json_object
from keras_cmm_runtime.utils.regular_files import refuse_special_file

_MERGES = Path(__file__).parent.parent.parent / "assets" / "clip_bpe" / "merges.txt.gz"
_SPECIAL_TOKENS = ("<|startoftext|>", "<|endoftext|>")
# T5's, for its training.
_SENTINEL = re.compile("\u2581?<extra_id_[0-9]+>")
_MAX_SENTINELS = 200


def read_tokenizer(folder: Path) -> Any:
    """Reads the tokenizer that transformers saved with a model.

    Args:
        folder: the folder, with `vocab.json` and `merges.txt`, or `tokenizer.json`.

    Returns:
        A `keras_hub.models.CLIPTokenizer`.

    Raises:
        InputError: If the files are missing or damaged, or belong to another tokenizer.
    """
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        vocabulary = read_json_object(folder / "vocab.json")
        merges = _read_merges(folder / "merges.txt")
        return make_tokenizer(vocabulary, merges, folder / "vocab.json")
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise InputError(
            f"{folder}: has no tokenizer; expected vocab.json and merges.txt, or tokenizer.json."
        )
    content = read_json_object(path)
    model = content.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        raise InputError(f"{path}: holds no BPE vocabulary; expected a tokenizer of CLIP.")
    try:
        vocabulary = dict(model["vocab"])
        for token in content.get("added_tokens") or ():
            vocabulary.setdefault(token["content"], token["id"])
        # Some versions of transformers write "a b", others ["a", "b"].
        merges = [
            merge if isinstance(merge, str) else " ".join(merge)
            for merge in model.get("merges") or ()
        ]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: does not have the form that transformers writes.") from error
    return make_tokenizer(vocabulary, merges, path)


def openai_tokenizer() -> Any:
    """Returns the tokenizer of OpenAI's CLIP models. Nearly all other CLIP models use it too.

    This package contains its 48,894 merges, under OpenAI's MIT licence (see NOTICE). The vocabulary
    follows from them.

    Returns:
        A `keras_hub.models.CLIPTokenizer`.

    References:
        https://github.com/openai/CLIP, clip/simple_tokenizer.py.
    """
    merges = _openai_merges()
    # The order of OpenAI's table: first the printable bytes, then the others.
    characters = _byte_characters()
    tokens = [
        *characters,
        *(f"{character}</w>" for character in characters),
        *(merge.replace(" ", "") for merge in merges),
        *_SPECIAL_TOKENS,
    ]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return make_tokenizer(vocabulary, merges, _MERGES)


def make_tokenizer(vocabulary: Mapping[str, int], merges: Sequence[str], path: Path) -> Any:
    """Makes a `keras_hub.models.CLIPTokenizer`.

    Args:
        vocabulary: ids by token.
        merges: the merge rules in order: two tokens, separated by a space.
        path: the file of the vocabulary, for messages.

    Returns:
        The tokenizer.

    Raises:
        InputError: If they do not belong to a CLIP tokenizer.
    """
    import keras_hub

    mend_clip_tokenizer()
    _check_vocabulary(vocabulary, merges, path)
    try:
        return keras_hub.models.CLIPTokenizer(vocabulary=dict(vocabulary), merges=list(merges))
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: does not belong to a CLIP tokenizer ({reason}).") from error


def check_tokenizer(tokenizer: Any, vocabulary_size: int, source: Path) -> None:
    """Checks that a tokenizer of keras-hub belongs to a model.

    Args:
        tokenizer: the tokenizer.
        vocabulary_size: number of tokens that the model embeds.
        source: the file or folder of the tokenizer, for messages.

    Raises:
        InputError: If the tokenizer has ids that the model does not embed, or is a `CLIPTokenizer`
            whose vocabulary and merges cannot be CLIP's.
    """
    import keras_hub

    if isinstance(tokenizer, keras_hub.models.CLIPTokenizer):
        _check_vocabulary(tokenizer.vocabulary, tokenizer.merges, source)
        highest = tokenizer.end_token_id
    elif isinstance(tokenizer, keras_hub.models.SigLIPTokenizer):
        highest = _highest_siglip_id(tokenizer)
    else:
        highest = tokenizer.vocabulary_size() - 1
    if highest >= vocabulary_size:
        raise InputError(
            f"{source}: its tokenizer has the id {highest}, and its model only {vocabulary_size} "
            "tokens; they do not belong together."
        )


def _highest_siglip_id(tokenizer: Any) -> int:
    """Returns the highest id that SigLIP's tokenizer makes of texts, which lose their `<`."""
    size = tokenizer.vocabulary_size()
    # The multilingual SigLIP has mT5's tokenizer, but no embeddings of its hundred sentinels.
    pieces = tokenizer.get_vocabulary()[-_MAX_SENTINELS:]
    while pieces and _SENTINEL.fullmatch(pieces.pop()):
        size -= 1
    return int(size) - 1


def _check_vocabulary(vocabulary: Mapping[str, int], merges: Sequence[str], path: Path) -> None:
    missing = [token for token in _SPECIAL_TOKENS if token not in vocabulary]
    if missing:
        raise InputError(
            f"{path}: has no token {missing[0]}; expected the vocabulary of a CLIP tokenizer."
        )
    # CLIP reads the embedding of a text at the token with the highest id.
    end = vocabulary[_SPECIAL_TOKENS[1]]
    ids = vocabulary.values()
    if not all(type(number) is int and 0 <= number <= end for number in ids):
        raise InputError(
            f"{path}: the ids of the tokens must be ints >= 0, and that of {_SPECIAL_TOKENS[1]}, "
            f"{end}, must be the highest."
        )
    if len(set(ids)) < len(vocabulary):
        raise InputError(f"{path}: two tokens have the same id; the vocabulary is damaged.")
    for number, merge in enumerate(merges, start=1):
        parts = merge.split(" ")
        if len(parts) != 2 or not all(part in vocabulary for part in (*parts, "".join(parts))):
            raise InputError(
                f"{path}: rule {number} of its merges, {merge[:50]!r}, does not join two tokens of "
                "the vocabulary to a third; the two do not belong together."
            )


def _read_merges(path: Path) -> list[str]:
    refuse_special_file(path)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from error
    return [line.rstrip("\r") for line in lines if line.strip() and not line.startswith("#version")]


@functools.cache
def _openai_merges() -> tuple[str, ...]:
    with gzip.open(_MERGES, "rt", encoding="utf-8", newline="\n") as file:
        return tuple(file.read().split("\n"))


def _byte_characters() -> list[str]:
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [
        *(chr(byte) for byte in printable),
        *(chr(256 + number) for number in range(len(others))),
    ]
