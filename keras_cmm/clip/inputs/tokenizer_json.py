"""From the `tokenizer.json` of the library tokenizers to a SentencePiece model.

The tokenizers of SigLIP 2 (Gemma's) and MetaCLIP 2 (XLM-V's) were SentencePiece models, which
transformers converts. keras-hub reads SentencePiece models alone, so they are converted back.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_cmm_runtime.errors import InputError

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
# Of Gemma. SentencePiece does not find these in texts, but all other added tokens.
_CONTROLS = ("<pad>", "<eos>", "<bos>")


def bpe_proto(content: Mapping[str, Any], path: Path) -> bytes:
    """Converts a BPE tokenizer that was made from a SentencePiece model.

    SentencePiece joins the two neighbours whose union has the highest score, and tokenizers those
    whose merge comes first. So the score of a piece is the negative place of its merges.

    Args:
        content: the content of the file.
        path: the file, for messages.

    Returns:
        The serialised SentencePiece model.

    Raises:
        InputError: If the file is damaged, or its tokenizer was not made from such a model.
    """
    messages = _messages()
    model = _model(content, "BPE", path)
    vocabulary, added = _vocabulary(content, model, path)
    scores = _scores(model.get("merges"), vocabulary, path)
    unknown = model.get("unk_token")
    if unknown not in vocabulary:
        raise InputError(f"{path}: has no unknown token; expected a tokenizer of Gemma.")
    has_bytes = all(f"<0x{byte:02X}>" in vocabulary for byte in range(256))
    if model.get("byte_fallback") and not has_bytes:
        raise InputError(f"{path}: lacks tokens of bytes; the file is damaged.")
    uses_bytes = bool(model.get("byte_fallback"))
    proto = messages.ModelProto()
    kinds = messages.ModelProto.SentencePiece
    for place, token in enumerate(vocabulary):
        kind = kinds.NORMAL
        if token == unknown:
            kind = kinds.UNKNOWN
        elif token in added:
            kind = kinds.CONTROL if token in _CONTROLS else kinds.USER_DEFINED
        elif uses_bytes and _BYTE.fullmatch(token):
            kind = kinds.BYTE
        score = scores.get(token, -len(scores) - place)
        proto.pieces.add(piece=token, score=score, type=kind)
    proto.trainer_spec.model_type = messages.TrainerSpec.BPE
    proto.trainer_spec.byte_fallback = uses_bytes
    pad, end, start = _CONTROLS
    _set_names(proto, unknown, start, end, pad)
    spec = proto.normalizer_spec
    spec.name = "identity"
    spec.add_dummy_prefix = spec.remove_extra_whitespaces = False
    spec.escape_whitespaces = True
    return bytes(proto.SerializeToString())


def unigram_proto(content: Mapping[str, Any], path: Path) -> bytes:
    """Converts a unigram tokenizer in the order of XLM-RoBERTa's: `<s>`, `<pad>`, `</s>`, `<unk>`.

    Args:
        content: the content of the file.
        path: the file, for messages.

    Returns:
        The serialised SentencePiece model, which begins with `<unk>`, `<s>`, `</s>`.

    Raises:
        InputError: If the file is damaged, or its tokenizer is of another kind.
    """
    messages = _messages()
    model = _model(content, "Unigram", path)
    entries = model.get("vocab")
    try:
        scored = [(str(piece), float(score)) for piece, score in entries]  # type: ignore[union-attr]
        added = {token["content"]: int(token["id"]) for token in content.get("added_tokens") or ()}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: does not have the form that transformers writes.") from error
    first = ["<s>", "<pad>", "</s>", "<unk>"]
    if [piece for piece, _ in scored[:4]] != first or len(dict(scored)) != len(scored):
        raise InputError(
            f"{path}: its tokens do not begin with {', '.join(first)}; expected a tokenizer of "
            "MetaCLIP 2."
        )
    # `<mask>` may stand among the added tokens alone.
    for token, number in sorted(added.items(), key=lambda item: item[1]):
        if number == len(scored):
            scored.append((token, 0.0))
    proto = messages.ModelProto()
    kinds = messages.ModelProto.SentencePiece
    proto.pieces.add(piece="<unk>", score=0.0, type=kinds.UNKNOWN)
    for token in ("<s>", "</s>"):
        proto.pieces.add(piece=token, score=0.0, type=kinds.CONTROL)
    for piece, score in scored[4:]:
        kind = kinds.CONTROL if piece in added else kinds.NORMAL
        proto.pieces.add(piece=piece, score=score, type=kind)
    proto.trainer_spec.model_type = messages.TrainerSpec.UNIGRAM
    _set_names(proto, "<unk>", "<s>", "</s>", "<pad>")
    spec = proto.normalizer_spec
    spec.precompiled_charsmap = _charsmap(content.get("normalizer"), path)
    spec.name = "nmt_nfkc" if spec.precompiled_charsmap else "identity"
    spec.add_dummy_prefix = spec.remove_extra_whitespaces = spec.escape_whitespaces = True
    return bytes(proto.SerializeToString())


def _messages() -> Any:
    """Returns the messages of SentencePiece's files. protobuf makes them when it is imported."""
    return importlib.import_module("sentencepiece.sentencepiece_model_pb2")


def _model(content: Mapping[str, Any], kind: str, path: Path) -> Mapping[str, Any]:
    model = content.get("model")
    if not isinstance(model, dict) or model.get("type", kind) != kind:
        found = model.get("type") if isinstance(model, dict) else None
        raise InputError(f"{path}: holds no {kind} vocabulary. Received: model.type={found!r}")
    return model


def _vocabulary(
    content: Mapping[str, Any], model: Mapping[str, Any], path: Path
) -> tuple[list[str], set[str]]:
    """Returns all tokens in the order of their ids, and those that were added."""
    try:
        ids = dict(model["vocab"])
        added = {token["content"]: token["id"] for token in content.get("added_tokens") or ()}
        for token, number in added.items():
            ids.setdefault(token, number)
        tokens = sorted(ids, key=ids.__getitem__)
        is_gapless = [ids[token] for token in tokens] == list(range(len(ids)))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: does not have the form that transformers writes.") from error
    if not is_gapless or not all(type(ids[token]) is int for token in tokens):
        raise InputError(f"{path}: the ids of its tokens must be 0, 1, 2, ... without gaps.")
    return tokens, set(added)


def _scores(merges: Any, vocabulary: Sequence[str], path: Path) -> dict[str, int]:
    """Returns the scores of the pieces that merges make."""
    known, scores, last = set(vocabulary), dict[str, int](), None
    try:
        pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges or ()]
        pairs = [(str(left), str(right)) for left, right in pairs]
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: does not have the form that transformers writes.") from error
    for left, right in pairs:
        piece = left + right
        if not {left, right, piece} <= known:
            raise InputError(f"{path}: merges {left!r} and {right!r}, which are no tokens.")
        if piece != last and piece in scores:
            raise InputError(_no_sentence_pieces(path, f"{piece!r} is made at two places"))
        last = piece
        scores.setdefault(piece, -len(scores))
    count = len(pairs)
    # SentencePiece joins any two pieces whose union is a piece.
    for piece in scores:
        count -= sum(piece[:cut] in known and piece[cut:] in known for cut in range(1, len(piece)))
    if count:
        raise InputError(_no_sentence_pieces(path, "some of its merges are missing"))
    return scores


def _no_sentence_pieces(path: Path, reason: str) -> str:
    return f"{path}: its merges do not come from a SentencePiece model ({reason})."


def _charsmap(normalizer: Any, path: Path) -> bytes:
    """Returns SentencePiece's table of characters, or no bytes if there is none."""
    steps = [normalizer]
    if isinstance(normalizer, dict) and normalizer.get("type") == "Sequence":
        steps = normalizer.get("normalizers") or []
    table = b""
    for step in steps if isinstance(steps, list) else [steps]:
        kind = step.get("type") if isinstance(step, dict) else step
        if kind == "Precompiled":
            try:
                table = base64.b64decode(step.get("precompiled_charsmap") or "", validate=True)
            except (binascii.Error, TypeError, ValueError) as error:
                raise InputError(f"{path}: its table of characters is damaged.") from error
        # SentencePiece itself removes white space at the ends and doubled.
        elif kind not in (None, "Replace", "Strip"):
            raise InputError(
                f"{path}: normalises texts with {kind!r}, which SentencePiece does not have."
            )
    return table


def _set_names(proto: Any, unknown: str, start: str, end: str, pad: str) -> None:
    pieces = {piece.piece: place for place, piece in enumerate(proto.pieces)}
    spec = proto.trainer_spec
    spec.vocab_size = len(pieces)
    for name, piece in (("unk", unknown), ("bos", start), ("eos", end), ("pad", pad)):
        setattr(spec, f"{name}_piece", piece)
        setattr(spec, f"{name}_id", pieces.get(piece, -1))
