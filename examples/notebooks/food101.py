# %% [markdown]
# # Food101: dishes as guests photograph them
#
# 101 dishes, 1,000 photographs each, from a site where guests post what they were served.
#
# What is hard in it:
#
# - Labels are noisy: the authors cleaned the official test images by hand and left the training
#   images as they were, with some wrong labels among them. One wrong image of 16 is 6 % of all
#   that a few-shot method learns of a class.
# - Dishes that are the same thing under two names to the eye: `steak` and `filet_mignon`, the
#   chocolate cake and the chocolate mousse.
# - CLIP is good at it, so a method must not unlearn: 16 noisy images can make zero-shot worse.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np

import keras_cmm
from keras_cmm.data import sample_few_shot
from keras_cmm.data.benchmarks import get_benchmark
from keras_cmm.evaluation import top_1
from steps import DATA_DIR, PRESET, PROTOCOL, STORE, confusions, contact_sheet, gaps, mistakes_sheet

# %% [markdown]
# ## The images
#
# CoOp does not keep the official test images but splits all 101,000 anew, so there is noise in
# its test split too. TFDS calls the official test images "validation". The prompt has no article:
# "a photo of {}, a type of food."

# %%
benchmark = get_benchmark("food101")
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
# ## Support images that may be wrong
#
# The support images whose cosine to the text of their class is the lowest. Look before you train:
# nothing is removed here, as the field does not either.

# %%
own_text = model.text_embeddings[support.labels]
cosines = (support_embeddings * own_text).sum(axis=1)
suspects = np.argsort(cosines, kind="stable")[:12]
contact_sheet(support, suspects, [support.class_names[support.labels[row]] for row in suspects])

# %% [markdown]
# ## CMM
#
# CLIP stays frozen: what is trained is the map from image to text space and the prototypes.

# %%
history = model.fit_embeddings(support_embeddings, support.labels, seed=1, verbose=0)
logits = model.predict_embeddings(test_embeddings)
accuracy = top_1(logits, test.labels)
print(f"zero-shot: {zero_shot:.1f} %, CMM with {sample.shots} shots: {accuracy:.1f} %")

# %% [markdown]
# ## Mistakes
#
# Some of these are mistakes of the labels.

# %%
predictions = logits.argmax(axis=1)
mistakes = confusions(predictions, test.labels, train.class_names)

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
