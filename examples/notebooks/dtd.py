# %% [markdown]
# # DTD: textures
#
# 47 words for textures, 120 images each, from nature, buildings and cloth.
#
# What is hard in it:
#
# - A class is an adjective, not a thing. CLIP's captions name things; the prompt "{} texture." is
#   there to say what is meant.
# - The words overlap: banded, lined and striped; dotted and polka-dotted; woven, knitted and
#   braided. The authors gave each image one key attribute and know that others apply to it too.
# - A crop decides what is seen: a texture fills the image, or is on a thing in it.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np

import keras_cmm
from keras_cmm.data import sample_few_shot
from keras_cmm.data.benchmarks import get_benchmark
from keras_cmm.evaluation import confusion_matrix, top_1, top_k
from steps import DATA_DIR, PRESET, PROTOCOL, STORE, confusions, gaps, mistakes_sheet

# %% [markdown]
# ## The images
#
# CoOp splits anew (2,820 / 1,128 / 1,692); TFDS has the first of the ten official partitions, of
# 1,880 each. The two cannot be compared.

# %%
benchmark = get_benchmark("dtd")
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
    f"right within two guesses: zero-shot {top_k(zero_shot_logits, test.labels, k=2):.1f} %, "
    f"CMM {top_k(logits, test.labels, k=2):.1f} %"
)

# %% [markdown]
# ## Mistakes
#
# Pairs that are mistaken both ways are the words that overlap.

# %%
predictions = logits.argmax(axis=1)
mistakes = confusions(predictions, test.labels, train.class_names)

# %%
counts = confusion_matrix(predictions, test.labels, len(train.class_names))
both_ways = np.triu(np.minimum(counts, counts.T), k=1)
order = np.argsort(-both_ways, axis=None, kind="stable")[:5]
for one, other in zip(*np.unravel_index(order, both_ways.shape), strict=True):
    print(
        f"{train.class_names[one]} / {train.class_names[other]}: {counts[one, other]} one way, "
        f"{counts[other, one]} the other"
    )

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
