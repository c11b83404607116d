"""The data: batches to train on, and zero-shot accuracy on the validation pictures."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from pretrain_emoji_clip.augmentation import plain
from pretrain_emoji_clip.captions import Captioner, Tokens
from pretrain_emoji_clip.model import Config, encode_pictures, encode_texts
from pretrain_emoji_clip.names import Role
from pretrain_emoji_clip.rendering import Record
from pretrain_emoji_clip.sources import SOURCES, VALIDATION_VENDORS


class Corpus:
    """The rendered pictures, split into training and validation. It draws batches."""

    def __init__(self, root: Path, config: Config) -> None:
        self.pixels = torch.from_numpy(np.load(root / "pictures.npy"))
        data = json.loads((root / "pictures.json").read_text())
        self.records = [Record(**r) for r in data["records"]]
        self.roles = [Role(**r) for r in data["roles"]]
        self.captioner = Captioner(self.roles)
        number = {role.code: i for i, role in enumerate(self.roles)}
        self.role_of = [number[r.role] for r in self.records]
        weights = {s.vendor: s.weight for s in SOURCES}
        vendors: dict[int, set[str]] = defaultdict(set)
        for i, record in zip(self.role_of, self.records, strict=True):
            vendors[i].add(record.vendor)
        validation, train = [], []
        for k, record in enumerate(self.records):
            i = self.role_of[k]
            if config.without:
                hidden = record.vendor.startswith(config.without)
                if hidden and all(v.startswith(config.without) for v in vendors[i]):
                    continue
            else:
                others = vendors[i] - set(VALIDATION_VENDORS)
                hidden = record.vendor in VALIDATION_VENDORS and i % 3 == 0 and bool(others)
            (validation if hidden else train).append(k)
        self.train, self.validation = train, validation
        # Pictures by role and vendor.
        self.shelf: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for k in train:
            self.shelf[self.role_of[k]][self.records[k].vendor].append(k)
        self.weights = weights
        self.people = np.array([i for i in self.shelf if self.roles[i].people])
        self.others = np.array([i for i in self.shelf if not self.roles[i].people])
        odds = [{9: 0.35, 8: 0.5}.get(self.roles[i].group, 1.0) for i in self.others]
        self.odds = np.array(odds) / sum(odds)
        self.config = config

    def batch(
        self, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, list[str], torch.Tensor]:
        """Draws a batch.

        Concepts are distinct within a batch, so no picture is the negative of its own name.

        Returns:
            The pictures, which of them may be flipped, the captions, and a matrix that is 1 where
            the caption of a column fits the picture of a row.
        """
        size = self.config.batch
        people = min(len(self.people), round(size * self.config.people))
        drawn = np.concatenate(
            [
                rng.choice(self.people, people, replace=False),
                rng.choice(self.others, size - people, replace=False, p=self.odds),
            ]
        ).tolist()
        pick = random.Random(int(rng.integers(1 << 62)))
        index, captions, cores = [], [], []
        for i in drawn:
            vendors = list(self.shelf[i])
            vendor = pick.choices(vendors, [self.weights[v] for v in vendors])[0]
            k = pick.choice(self.shelf[i][vendor])
            record = self.records[k]
            text, core = self.captioner.draw(i, record.gender, record.tone, pick)
            index.append(k)
            captions.append(text)
            cores.append(core)
        row = {i: n for n, i in enumerate(drawn)}
        fits = torch.eye(size)
        for n, core in enumerate(cores):
            for i in self.captioner.fits(core):
                if i in row:
                    fits[row[i], n] = 1
        flip = torch.tensor([self.roles[i].flip for i in drawn])
        return self.pixels[index], flip, captions, fits


def zero_shot(
    corpus: Corpus, backbone: Any, tokens: Tokens, people: bool
) -> tuple[int, int, float, float]:
    """Scores the validation pictures among the names of all concepts, or of people only.

    Returns:
        The numbers of pictures and of names, top-1 and top-5.
    """
    classes = [i for i in corpus.shelf if corpus.roles[i].people or not people]
    names = [prompt_name(corpus.roles[i]) for i in classes]
    column = {i: n for n, i in enumerate(classes)}
    index = [k for k in corpus.validation if corpus.role_of[k] in column]
    random.Random(0).shuffle(index)
    index = index[:1500]
    with torch.no_grad():
        texts = class_vectors(backbone, tokens, names)
        found = []
        for start in range(0, len(index), 250):
            part = index[start : start + 250]
            scores = encode_pictures(backbone, plain(corpus.pixels[part])) @ texts.T
            truth = torch.tensor([column[corpus.role_of[k]] for k in part])
            found.append((scores.topk(5).indices == truth[:, None]).float())
    hits = torch.cat(found)
    return len(index), len(classes), hits[:, 0].mean().item(), hits.sum(1).mean().item()


def prompt_name(role: Role) -> str:
    return (role.names or [n for ns in role.gendered.values() for n in ns] or role.tags)[0]


def class_vectors(backbone: Any, tokens: Tokens, names: list[str]) -> torch.Tensor:
    prompts = ("{}", "an emoji of {}", "an emoji of a {}.")
    parts = []
    for start in range(0, len(names), 300):
        some = names[start : start + 300]
        vectors = [encode_texts(backbone, tokens([p.format(t) for t in some])) for p in prompts]
        parts.append(F.normalize(sum(vectors), dim=-1))
    return torch.cat(parts)
