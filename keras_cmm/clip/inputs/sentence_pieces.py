"""Making SentencePiece tokenizers of keras-hub from the files of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_cmm.clip.inputs.tokenizer_json import bpe_proto, unigram_proto
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.files import read_json_object
from keras_cmm_runtime.utils.regular_files import refuse_special_file

# What a tokenizer of keras-hub needs. It takes the unknown token for each that is missing.
_SPECIAL_PIECES: dict[str, dict[str, int | None]] = {
    "SigLIPTokenizer": {"<unk>": None, "</s>": None},
    "GemmaTokenizer": {"<pad>": None, "<eos>": None, "<bos>": None},
    # Its ids follow from these places.
    "MetaCLIP2Tokenizer": {"<unk>": 0, "<s>": 1, "</s>": 2},
}


def read_siglip_tokenizer(folder: Path) -> Any:
    """Reads the tokenizer that transformers saved with a SigLIP or a SigLIP 2.

    Args:
        folder: the folder, with `spiece.model`, SigLIP's own, or with `tokenizer.model` or
            `tokenizer.json`, which are Gemma's, for SigLIP 2.

    Returns:
        A `keras_hub.models.SigLIPTokenizer` or `keras_hub.models.GemmaTokenizer`.

    Raises:
        InputError: If the files are missing or damaged, or belong to another tokenizer.
    """
    if (path := folder / "spiece.model").is_file():
        return _make("SigLIPTokenizer", _read(path), path)
    if (path := folder / "tokenizer.model").is_file():
        return _make("GemmaTokenizer", _read(path), path)
    if (path := folder / "tokenizer.json").is_file():
        return _make("GemmaTokenizer", bpe_proto(read_json_object(path), path), path)
    raise InputError(
        f"{folder}: has no tokenizer; expected spiece.model (SigLIP), or tokenizer.json or "
        "tokenizer.model (SigLIP 2)."
    )


def read_metaclip_2_tokenizer(folder: Path) -> Any:
    """Reads the tokenizer that transformers saved with a MetaCLIP 2.

    Args:
        folder: the folder, with `sentencepiece.bpe.model` or `tokenizer.json`.

    Returns:
        A `keras_hub.models.MetaCLIP2Tokenizer`.

    Raises:
        InputError: If the files are missing or damaged, or belong to another tokenizer.
    """
    if (path := folder / "sentencepiece.bpe.model").is_file():
        return _make("MetaCLIP2Tokenizer", _read(path), path)
    if (path := folder / "tokenizer.json").is_file():
        return _make("MetaCLIP2Tokenizer", unigram_proto(read_json_object(path), path), path)
    raise InputError(
        f"{folder}: has no tokenizer; expected sentencepiece.bpe.model or tokenizer.json."
    )


def _read(path: Path) -> bytes:
    refuse_special_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}).") from error


def _make(kind: str, proto: bytes, path: Path) -> Any:
    import keras_hub

    _check_pieces(kind, proto, path)
    try:
        return getattr(keras_hub.models, kind)(proto=proto)
    # TensorFlow Text has errors of its own.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: does not belong to a {kind} ({reason}).") from error


def _check_pieces(kind: str, proto: bytes, path: Path) -> None:
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor()
    try:
        is_whole = bool(proto) and model.LoadFromSerializedProto(proto)
        pieces = model.IdToPiece(list(range(model.GetPieceSize()))) if is_whole else []
    # UnicodeDecodeError is a ValueError.
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(
            f"{path}: is not a SentencePiece model, or it is damaged; fetch it again."
        ) from error
    if not pieces:
        raise InputError(f"{path}: is not a SentencePiece model, or it is damaged; fetch it again.")
    for piece, place in _SPECIAL_PIECES[kind].items():
        if piece not in pieces or place not in (None, pieces.index(piece)):
            raise InputError(
                f"{path}: has no piece {piece}{'' if place is None else f' at {place}'}; expected "
                f"the vocabulary of keras-hub's {kind}."
            )
