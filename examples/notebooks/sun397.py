# %% [markdown]
# # SUN397: scenes
#
# 397 kinds of places, from abbey to youth hostel, 50 training and 50 test images each in the
# partition that the field uses.
#
# What is hard in it:
#
# - A picture of a scene shows many things and fits several names: a `chalet` on a `ski slope`.
#   Only one is right; the accuracy within the first five guesses tells how much that matters.
# - Some places come twice, indoors and outdoors: "indoor church" and "outdoor church" are two
#   classes.
# - It is large, 39 GB for the archive. One that broke off unpacks without the last letters of the
#   alphabet; `keras-cmm datasets check sun397` counts.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np

import keras_cmm
from keras_cmm.data import sample_few_shot
from keras_cmm.data.benchmarks import get_benchmark
from keras_cmm.evaluation import top_1, top_k
from steps import DATA_DIR, PRESET, PROTOCOL, STORE, confusions, gaps, mistakes_sheet

# %% [markdown]
# ## The images
#
# The folders are `a/apse/indoor`; CLIP's names put the kind first, "indoor apse". TFDS's
# `sun397/standard-part1-120k` has the same lists as CoOp, with images scaled down to 120,000
# pixels, and needs opencv to be prepared.

# %%
benchmark = get_benchmark("sun397")
train = benchmark.load("train", protocol=PROTOCOL, data_dir=DATA_DIR)
test = benchmark.load("test", protocol=PROTOCOL, data_dir=DATA_DIR)
print(f"{benchmark.title}, protocol {PROTOCOL}: {len(train):,} train, {len(test):,} test images")
print("classes:", ", ".join(train.class_names[:12]), "...")

# %% [markdown]
# 16 images a class are the support set. The draw depends on the seed and the images' keys alone.

# %%
sample = sample_few_shot(train.labels, 16, seed=1, keys=train.keys())
support = train.take(sample.indices)
print(f"{len(support):,} support images")

# %% [markdown]
# ## Zero-shot
#
# A new classifier has the texts of the classes as prototypes: it is zero-shot CLIP. Every image
# is embedded once and kept in the store.

# %%
model = keras_cmm.CMMImageClassifier.from_preset(
    PRESET, class_names=train.class_names, template=benchmark.prompt_template
)
model.embedder.store = STORE
support_embeddings = model.embedder.embed(support.images).embeddings
test_embeddings = model.embedder.embed(test.images).embeddings
zero_shot_logits = model.predict_embeddings(test_embeddings)
zero_shot = top_1(zero_shot_logits, test.labels)
print(f"zero-shot: {zero_shot:.1f} %")

# %% [markdown]
# ## CMM
#
# CLIP stays frozen: what is trained is the map from image to text space and the prototypes.

# %%
history = model.fit_embeddings(support_embeddings, support.labels, seed=1, verbose=0)
logits = model.predict_embeddings(test_embeddings)
accuracy = top_1(logits, test.labels)
print(f"zero-shot: {zero_shot:.1f} %, CMM with {sample.shots} shots: {accuracy:.1f} %")

# %%
print(
    f"right within five guesses: zero-shot {top_k(zero_shot_logits, test.labels, k=5):.1f} %, "
    f"CMM {top_k(logits, test.labels, k=5):.1f} %"
)

# %% [markdown]
# ## Mistakes
#
# Among them, places that were mistaken for the same place on the other side of the door.

# %%
predictions = logits.argmax(axis=1)
mistakes = confusions(predictions, test.labels, train.class_names)

# %%
places = np.array(
    [name.removeprefix("indoor ").removeprefix("outdoor ") for name in train.class_names]
)
wrong = predictions != test.labels
door = wrong & (places[predictions] == places[test.labels])
print(f"{wrong.sum()} mistakes, {door.sum()} of them only indoors for outdoors or the reverse")

# %%
mistakes_sheet(test, predictions)

# %% [markdown]
# ## The modality gap
#
# How far apart the means of images and texts are, and how close a test image is to the text of
# its class and to the closest wrong one: CLIP's texts before, mapped images and trained
# prototypes after.

# %%
before, after = gaps(model, test_embeddings, test.labels)
