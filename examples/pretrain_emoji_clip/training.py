"""Training: a loop that can be stopped and resumed at any step."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pretrain_emoji_clip.augmentation import augment, plain
from pretrain_emoji_clip.captions import Tokens, vocabulary_of
from pretrain_emoji_clip.data import Corpus, zero_shot
from pretrain_emoji_clip.model import (
    Config,
    build_backbone,
    check_equal,
    encode_captions,
    encode_pictures,
    start_values,
)


def soft_loss(logits: torch.Tensor, fits: torch.Tensor) -> torch.Tensor:
    """Returns the symmetric cross-entropy. Captions that fit one picture share its target."""
    a = -(fits / fits.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean()
    b = -(fits / fits.sum(0, keepdim=True) * logits.log_softmax(0)).sum(0).mean()
    return (a + b) / 2


def save_atomically(state: dict[str, Any], file: Path) -> None:
    part = file.with_suffix(".part")
    torch.save(state, part)
    part.replace(file)


class Trainer:
    """Trains the Keras variables with AdamW and averages them. Checkpoints resume exactly."""

    def __init__(self, root: Path, config: Config) -> None:
        self.root, self.config = root, config
        self.corpus = Corpus(root, config)
        vocabulary, merges = vocabulary_of(root, self.corpus.captioner, config.merges)
        self.tokens = Tokens(vocabulary, merges)
        self.backbone = build_backbone(config, len(vocabulary))
        start_values(self.backbone)
        self.variables = self.backbone.trainable_variables
        self.values = [v.value for v in self.variables]
        self.ema = [v.detach().clone() for v in self.values]
        decay = [v for v in self.values if v.ndim > 1]
        rest = [v for v in self.values if v.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decay, "weight_decay": config.weight_decay},
                {"params": rest, "weight_decay": 0.0},
            ],
            lr=config.lr,
            betas=(0.9, 0.98),
            eps=1e-6,
            fused=True,
        )
        self.rng = np.random.default_rng(config.seed)
        torch.manual_seed(config.seed)
        self.step, self.seconds = 0, 0.0
        check_equal(self.backbone, plain(self.corpus.pixels[:4]), self.tokens(["a dog", "pizza"]))

    def state(self) -> dict[str, Any]:
        """Returns all that a checkpoint needs."""
        paths = [v.path for v in self.variables]
        return {
            "config": asdict(self.config),
            "step": self.step,
            "seconds": self.seconds,
            "weights": {
                v.path: t.detach() for v, t in zip(self.variables, self.values, strict=True)
            },
            "ema": dict(zip(paths, self.ema, strict=True)),
            "optimizer": self.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": self.rng.bit_generator.state,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Takes the state of a checkpoint."""
        with torch.no_grad():
            for variable, value, mean in zip(self.variables, self.values, self.ema, strict=True):
                value.copy_(state["weights"][variable.path])
                mean.copy_(state["ema"][variable.path])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_rng"])
        self.rng.bit_generator.state = state["numpy_rng"]
        self.step, self.seconds = state["step"], state["seconds"]

    def swap(self) -> None:
        """Exchanges the weights with their running mean."""
        with torch.no_grad():
            for value, mean in zip(self.values, self.ema, strict=True):
                kept = value.clone()
                value.copy_(mean)
                mean.copy_(kept)

    def rate(self) -> float:
        """Returns the learning rate: a warmup, then a cosine."""
        config, step = self.config, self.step
        if step < config.warmup:
            return config.lr * (step + 1) / config.warmup
        done = (step - config.warmup) / max(1, config.steps - config.warmup)
        return config.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))

    def train_step(self) -> float:
        """Trains on one batch and returns its loss."""
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        pixels, flip, captions, fits = self.corpus.batch(self.rng)
        with torch.no_grad():
            pictures = augment(pixels, flip)
        keep = config.keep if self.step < config.steps * (1 - config.whole) else 1.0
        # Weights and optimizer stay in float32. The blocks compute in bfloat16, twice as fast.
        dtype = torch.bfloat16
        pictures = encode_pictures(self.backbone, pictures, keep, dtype)
        texts = encode_captions(self.backbone, self.tokens(captions), dtype)
        scale = self.backbone.clip_head.logit_scale.value
        loss = soft_loss(pictures @ texts.T * scale.exp(), fits)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.values, 1.0)
        self.optimizer.step()
        with torch.no_grad():
            scale.clamp_(0, math.log(100))
            mean = min(config.ema, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(self.ema, [v.detach() for v in self.values], 1 - mean)
        self.step += 1
        return loss.item()

    def validate(self) -> str:
        """Returns a line with the zero-shot accuracy of the averaged weights on validation data."""
        self.swap()
        out = []
        for title, people in (("all", False), ("people", True)):
            n, classes, top1, top5 = zero_shot(self.corpus, self.backbone, self.tokens, people)
            out.append(f"{title} {top1:.1%}/{top5:.1%} ({n} pictures, {classes} names)")
        self.swap()
        return "zero-shot top-1/top-5: " + "; ".join(out)

    def run(self, until: float, log: Any, checkpoint: Path) -> None:
        """Trains to the end of the schedule, or until the time `until`."""
        started = said = saved = time.time()
        checked = started
        losses: list[float] = []
        first, begun = self.step, self.seconds
        while self.step < self.config.steps and time.time() < until:
            losses.append(self.train_step())
            now = time.time()
            self.seconds = begun + now - started
            if now - said > 60:
                done = self.step - first
                speed = done / (now - started)
                eta = (self.config.steps - self.step) / speed / 60
                scale = self.backbone.clip_head.logit_scale.value.exp().item()
                log(
                    f"step {self.step}/{self.config.steps} loss {np.mean(losses):.3f} "
                    f"lr {self.rate():.2e} scale {scale:.1f} "
                    f"{speed * self.config.batch:.0f} images/s "
                    f"trained {self.seconds / 60:.0f} min eta {eta:.0f} min"
                )
                said, losses = now, []
            if now - saved > 300:
                save_atomically(self.state(), checkpoint)
                saved = now
            if now - checked > 900:
                log(self.validate())
                checked = now
        save_atomically(self.state(), checkpoint)
        log(f"stopped at step {self.step} of {self.config.steps}; " + self.validate())
