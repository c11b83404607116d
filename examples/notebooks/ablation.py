# %% [markdown]
# # What each ingredient of the default recipe does
#
# CMM's default recipe, `AutoRecipe`, starts map and prototypes in closed form, trains for few
# steps, and puts the class texts among the training rows. This notebook takes one ingredient away
# at a time, on the bundled demo pictures. `examples/study_recipe.py` does the same on embeddings
# files of your own.
#
# No test picture is touched: classifiers are scored on pictures of the pool that were not drawn.
# A difference on one small set and two seeds is a hint, no proof.

# %%
import os
from dataclasses import replace

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np

from keras_cmm import AutoRecipe, CMMClassifier, TrainingRecipe
from keras_cmm.clip import ImageEmbedder, TextEmbedder, build_prompts, load, logit_scale
from keras_cmm.data import DemoSet, sample_few_shot
from keras_cmm.evaluation import top_1
from steps import STORE

# %%
demo = DemoSet.load()
clip = load("emoji_clip_tiny")
pool = ImageEmbedder(clip, store=STORE).embed(demo.train_images).embeddings
texts = TextEmbedder(clip).class_prototypes(build_prompts(demo.class_names, "an emoji of a {}."))
scale = logit_scale(clip.backbone)

# %% [markdown]
# ## The variants
#
# `prior_shots` is how many images a class's text counts for in its prototype at the start: very
# many leave the text alone, hardly any the mean of the images.

# %%
auto = AutoRecipe()
variants = {
    "default recipe": auto,
    "texts alone at the start": replace(auto, prior_shots=1e6),
    "images alone at the start": replace(auto, prior_shots=1e-3),
    "no text rows": replace(auto, text_rows=False),
    "no triplet loss": replace(auto, triplet_weight=0.0),
    "no contrastive loss": replace(auto, contrastive_weight=0.0),
    "CLIP's own logits in full": replace(auto, clip_shots=None),
    "no training, the start alone": replace(auto, learning_rate=1e-12),
    "plain recipe": TrainingRecipe(),
}

# %% [markdown]
# ## The table


# %%
def score(recipe, shots, seed):
    """Trains on a draw and returns the accuracy on the pictures that were not drawn."""
    drawn = sample_few_shot(demo.train_labels, shots, seed=seed, keys=demo.train_keys).indices
    rest = np.setdiff1d(np.arange(len(pool)), drawn)
    head = CMMClassifier.from_text_embeddings(texts, logit_scale=scale)
    start = recipe.start(head, pool[drawn], demo.train_labels[drawn].astype("int64"))
    recipe.train(head, *start, seed=seed)
    logits = head.predict(pool[rest], batch_size=4096, verbose=0)
    return top_1(logits, demo.train_labels[rest])


accuracy = {}
print(f"{'':30}{'1 shot':>8}{'8 shots':>9}")
for name, recipe in variants.items():
    accuracy[name] = [np.mean([score(recipe, shots, seed) for seed in (1, 2)]) for shots in (1, 8)]
    print(f"{name:30}{accuracy[name][0]:8.1f}{accuracy[name][1]:9.1f}")

# %% [markdown]
# Zero-shot for comparison, on the whole pool:

# %%
zero_shot = top_1(pool @ texts.T, demo.train_labels)
print(f"zero-shot: {zero_shot:.1f}")
