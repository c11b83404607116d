"""A state dict under OpenAI's names, of a small random ViT."""

import torch


def tower(name, width, layers, generator):
    state = {}
    for layer in range(layers):
        block = f"{name}.resblocks.{layer}"
        for part, shape in (
            ("attn.in_proj_", (3 * width, width)),
            ("attn.out_proj.", (width, width)),
            ("mlp.c_fc.", (4 * width, width)),
            ("mlp.c_proj.", (width, 4 * width)),
        ):
            state[f"{block}.{part}weight"] = torch.randn(shape, generator=generator) / width**0.5
            state[f"{block}.{part}bias"] = torch.zeros(shape[0])
        for norm in ("ln_1", "ln_2"):
            state |= norm_state(f"{block}.{norm}", width)
    return state


def norm_state(name, width):
    return {f"{name}.weight": torch.ones(width), f"{name}.bias": torch.zeros(width)}


def make_state(width=128, text_width=64, patch_size=16, positions=5, layers=2):
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return 0.1 * torch.randn(shape, generator=generator)

    return {
        "positional_embedding": random(77, text_width),
        "text_projection": random(text_width, 32),
        "logit_scale": torch.tensor(4.6),
        "visual.class_embedding": random(width),
        "visual.positional_embedding": random(positions, width),
        "visual.proj": random(width, 32),
        "visual.conv1.weight": random(width, 3, patch_size, patch_size),
        "token_embedding.weight": random(49408, text_width),
        **norm_state("visual.ln_pre", width),
        **norm_state("visual.ln_post", width),
        **norm_state("ln_final", text_width),
        **tower("visual.transformer", width, layers, generator),
        **tower("transformer", text_width, layers, generator),
    }
