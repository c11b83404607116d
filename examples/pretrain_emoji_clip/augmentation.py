"""Augmentation: every picture gets a style at random, so that form matters most."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from pretrain_emoji_clip.rendering import SIZE


def uniform(n: int, low: float, high: float, *shape: int) -> torch.Tensor:
    return torch.empty(n, *shape).uniform_(low, high)


def chosen(n: int, probability: float) -> torch.Tensor:
    return torch.rand(n) < probability


LUMA = torch.tensor([0.299, 0.587, 0.114])


def affine(x: torch.Tensor, flip: torch.Tensor) -> torch.Tensor:
    n = len(x)
    wild = chosen(n, 0.15).float()
    angle = uniform(n, -1, 1) * (0.16 + 0.4 * wild)
    scale = torch.exp(uniform(n, -0.12, 0.42))  # Above 1 it shrinks the picture.
    aspect = torch.exp(uniform(n, -0.08, 0.08))
    sign = torch.where(flip & chosen(n, 0.5), -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    room = 0.08 + 0.5 * (scale - 1).clamp(min=0)
    theta = torch.stack(
        [
            torch.stack([cos * aspect * sign, -sin, uniform(n, -1, 1) * room], 1),
            torch.stack([sin * sign, cos / aspect, uniform(n, -1, 1) * room], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, [n, 4, SIZE, SIZE], align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def colour_matrix(n: int) -> torch.Tensor:
    """Draws colour changes, shape (n, 3, 4): hue, saturation, contrast, some grey or inverted."""
    hue = uniform(n, -1, 1) * torch.where(chosen(n, 0.12), 3.14, 0.2)
    cos, sin = torch.cos(hue), torch.sin(hue)
    third, root = 1 / 3, math.sqrt(1 / 3)
    eye, ones = torch.eye(3), torch.full((3, 3), third)
    cross = torch.tensor([[0.0, -root, root], [root, 0.0, -root], [-root, root, 0.0]])
    m = cos[:, None, None] * eye + (1 - cos)[:, None, None] * ones + sin[:, None, None] * cross
    saturation = uniform(n, 0.6, 1.5)
    saturation[chosen(n, 0.08)] = 0
    m = (saturation[:, None, None] * eye + (1 - saturation)[:, None, None] * LUMA.expand(3, 3)) @ m
    contrast = uniform(n, 0.75, 1.25)[:, None, None]
    shift = 0.5 * (1 - contrast) + uniform(n, -0.12, 0.12, 1, 1) + uniform(n, -0.06, 0.06, 3, 1)
    m = torch.cat([m * contrast, shift], 2)
    inverted = chosen(n, 0.02)
    m[inverted] = -m[inverted] + torch.tensor([0.0, 0, 0, 1])
    return m


def blur(x: torch.Tensor) -> torch.Tensor:
    kernel = torch.tensor([1.0, 2, 1]) / 4
    weight = (kernel[:, None] * kernel).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, groups=x.shape[1])


def subset(x: torch.Tensor, probability: float, change: Any) -> torch.Tensor:
    """Applies `change` to a random part of the batch."""
    index = torch.nonzero(chosen(len(x), probability)).flatten()
    if len(index):
        x = x.index_copy(0, index, change(x[index]))
    return x


def ramp(n: int) -> torch.Tensor:
    """Returns planes from -1 to 1 over the picture, which rise in random directions."""
    line = torch.linspace(-1, 1, SIZE)
    angle = uniform(n, 0, 2 * math.pi, 1, 1)
    return torch.cos(angle) * line + torch.sin(angle) * line[:, None]


def edges(x: torch.Tensor) -> torch.Tensor:
    grey = (x * LUMA[:, None, None]).sum(1, keepdim=True)
    gx = F.pad(grey[..., 1:] - grey[..., :-1], (0, 1))
    gy = F.pad(grey[..., 1:, :] - grey[..., :-1, :], (0, 0, 0, 1))
    return (1 - 3 * (gx.abs() + gy.abs())).clamp(0, 1).expand(-1, 3, -1, -1)


def half_and_back(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear", align_corners=False)


def posterize(x: torch.Tensor) -> torch.Tensor:
    levels = torch.randint(2, 6, (len(x), 1, 1, 1)).float()
    return (x * levels).round() / levels


def erase(x: torch.Tensor) -> torch.Tensor:
    n, line = len(x), torch.arange(SIZE)
    low = torch.rand(n, 2) * SIZE * 0.8
    high = low + SIZE * uniform(n, 0.1, 0.35, 2)
    inside = [(line >= low[:, i : i + 1]) & (line < high[:, i : i + 1]) for i in (0, 1)]
    mask = (inside[0][:, :, None] & inside[1][:, None, :])[:, None].float()
    return x * (1 - mask) + mask * torch.rand(n, 3, 1, 1)


def on_ground(rgb: torch.Tensor, alpha: torch.Tensor, ground: torch.Tensor) -> torch.Tensor:
    return rgb + ground * (1 - alpha)


def outline(alpha: torch.Tensor, ground: torch.Tensor) -> torch.Tensor:
    """Returns the ground. A fifth of the pictures get their widened silhouette in ink on it."""
    n = len(alpha)
    ground = ground.expand(n, 3, SIZE, SIZE)
    index = torch.nonzero(chosen(n, 0.2)).flatten()
    wide = F.max_pool2d(alpha[index], 3, 1, 1)
    wide = subset(wide, 0.4, lambda y: F.max_pool2d(y, 3, 1, 1))
    k = len(index)
    ink = torch.rand(k, 3, 1, 1) * torch.where(chosen(k, 0.6), 0.25, 1.0)[:, None, None, None]
    return ground.index_copy(0, index, on_ground(ink * wide, wide, ground[index]))


def augment(pictures: torch.Tensor, flip: torch.Tensor) -> torch.Tensor:
    """Gives each picture a random style.

    The model must generalise to an unseen vendor, so form must matter more than palette, outline,
    shading or ground.

    Args:
        pictures: RGBA pictures, uint8 of shape (n, 64, 64, 4).
        flip: Which pictures may be mirrored, shape (n,).

    Returns:
        The model's input, shape (n, 64, 64, 3).
    """
    n = len(pictures)
    x = pictures.permute(0, 3, 1, 2).float() / 255
    x = torch.cat(
        [x[:, :3] * x[:, 3:], x[:, 3:]], 1
    )  # Premultiplied, so that it can be interpolated.
    x = affine(x, flip)
    rgb, alpha = x[:, :3], x[:, 3:]
    m = colour_matrix(n)
    rgb = torch.einsum("nij,njhw->nihw", m[:, :, :3], rgb) + m[:, :, 3, None, None] * alpha
    strength = uniform(n, 0, 0.35, 1, 1, 1) * chosen(n, 0.35)[:, None, None, None]
    rgb = rgb * (1 + strength * ramp(n)[:, None])  # Shading, as by a gradient.
    rgb = torch.minimum(rgb.clamp(min=0), alpha)
    # Ground: half white, the others grey or coloured. Some have a gradient.
    ground = torch.ones(n, 3, 1, 1)
    coloured, grey = chosen(n, 0.35), chosen(n, 0.2)
    ground[coloured] = torch.rand(int(coloured.sum()), 3, 1, 1)
    ground[grey] = torch.rand(int(grey.sum()), 1, 1, 1).expand(-1, 3, 1, 1)
    ground = ground + 0.3 * chosen(n, 0.15)[:, None, None, None] * ramp(n)[:, None]
    # Outline: dark or coloured, one or two pixels wide.
    x = on_ground(rgb, alpha, outline(alpha, ground)).clamp(0, 1)
    x = subset(x, 0.10, half_and_back)
    x = subset(x, 0.10, blur)
    x = subset(x, 0.10, lambda y: y + uniform(len(y), 0.5, 2.0, 1, 1, 1) * (y - blur(y)))
    x = subset(x, 0.06, posterize)
    x = subset(x, 0.03, edges)
    x = subset(x, 0.08, lambda y: y + torch.randn_like(y) * uniform(len(y), 0, 0.06, 1, 1, 1))
    x = subset(x, 0.20, erase)
    return to_input(x.clamp(0, 1))


def plain(pictures: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Puts pictures on white and changes nothing else, for validation and the demo."""
    x = torch.as_tensor(np.asarray(pictures)).permute(0, 3, 1, 2).float() / 255
    return to_input(on_ground(x[:, :3] * x[:, 3:], x[:, 3:], torch.ones(1, 3, 1, 1)))


def to_input(x: torch.Tensor) -> torch.Tensor:
    return (x * 2 - 1).permute(0, 2, 3, 1).contiguous()  # Mean and deviation 0.5.
