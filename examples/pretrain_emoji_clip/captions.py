"""Captions: texts for the pictures, and the byte-pair vocabulary that is trained on them."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pretrain_emoji_clip.names import Role

MAX_TOKENS = 32
WRAPPERS = [
    "an emoji of {}",
    "an emoji of {}.",
    "an emoji of a {}",
    "an emoji of a {}.",
    "{} emoji",
    "a picture of {}",
    "a picture of a {}.",
    "a photo of a {}.",
    "an icon of a {}",
    "a drawing of a {}.",
    "a cartoon of {}",
    "{}.",
]


@dataclass
class Captioner:
    """Draws captions for pictures. `owners` holds the concepts that each core caption fits."""

    roles: list[Role]
    owners: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        for i, role in enumerate(self.roles):
            every = [role.names, role.tags, *role.gendered.values()]
            for text in (t for texts in every for t in texts):
                self.owners[text].add(i)

    def texts(self) -> list[str]:
        """Returns every core caption."""
        return sorted(self.owners)

    def draw(self, i: int, gender: str, tone: str, rng: random.Random) -> tuple[str, str]:
        """Returns a caption and its core: the part that decides which other concepts it fits."""
        role, dice = self.roles[i], rng.random()
        names = role.names or [n for ns in role.gendered.values() for n in ns] or role.tags
        if role.gendered.get(gender) and rng.random() < 0.35:
            names = role.gendered[gender]
        # The first name is the Unicode label and deserves half of the draws.
        name = names[0] if rng.random() < 0.5 else rng.choice(names)
        core = text = name
        if dice < 0.14 and role.tags:
            core = text = rng.choice(role.tags)
        elif dice < 0.28 and len(role.tags) > 1:
            tags = rng.sample(role.tags, min(len(role.tags), rng.randint(2, 4)))
            text, core = ", ".join(tags), "\n".join(tags)
        elif dice < 0.36 and role.tags:
            text = f"{name}, {rng.choice(role.tags)}"
        elif tone and dice < 0.46:
            text = f"{name} with {tone} skin tone" if rng.random() < 0.5 else f"{name}, {tone} skin"
        if rng.random() < 0.45:
            text = rng.choice(WRAPPERS).format(text)
        return text, core

    def fits(self, core: str) -> set[int]:
        """Returns the concepts that a core caption is true of."""
        sets = [self.owners.get(part, set()) for part in core.split("\n")]
        return set.intersection(*sets)


def train_vocabulary(texts: list[str], merges: int) -> tuple[dict[str, int], list[str]]:
    """Trains a CLIP-style BPE: bytes, bytes that end a word, merges, then two special tokens.

    CLIP pools the text at the position of the largest id, so the end token must come last. Id 0
    pads, so it is the harmless byte '!'.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"),
                behavior="removed",
                invert=True,
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(alphabet) + merges,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    pairs = json.loads(tokenizer.to_str())["model"]["merges"]
    rules = [tuple(p) if isinstance(p, list) else tuple(p.split(" ")) for p in pairs][:merges]
    alphabet.remove("!")
    tokens = ["!", *alphabet, *(f"{c}</w>" for c in ["!", *alphabet]), *(a + b for a, b in rules)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    return {t: i for i, t in enumerate(tokens)}, [f"{a} {b}" for a, b in rules]


def vocabulary_of(
    root: Path, captioner: Captioner, merges: int
) -> tuple[dict[str, int], list[str]]:
    """Returns the vocabulary. It is made once and kept: weights fit no other vocabulary."""
    file = root / f"vocabulary-{merges}.json"
    if not file.exists():
        rng = random.Random(0)
        texts = [w.format("") for w in WRAPPERS] * 50 + captioner.texts()
        for i, role in enumerate(captioner.roles):
            texts += [captioner.draw(i, g, "medium-dark", rng)[0] for g in ("", *role.gendered)] * 2
        file.write_text(json.dumps(train_vocabulary(texts, merges)))
    vocabulary, rules = json.loads(file.read_text())
    return vocabulary, rules


class Tokens:
    """Turns texts into the padded ids that keras-hub's tokenizer and packer make, but faster."""

    def __init__(self, vocabulary: dict[str, int], merges: list[str]) -> None:
        import keras_hub

        self.keras = keras_hub.models.CLIPTokenizer(vocabulary=vocabulary, merges=merges)
        self.start, self.end = self.keras.start_token_id, self.keras.end_token_id
        self.fast = self.keras._tokenizer

    def __call__(self, texts: list[str]) -> torch.Tensor:
        """Returns the ids of the captions, padded to the longest."""
        rows = [e.ids[: MAX_TOKENS - 2] for e in self.fast.encode_batch(texts)]
        width = max(map(len, rows)) + 2
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row) + 2] = torch.tensor([self.start, *row, self.end])
        return ids
