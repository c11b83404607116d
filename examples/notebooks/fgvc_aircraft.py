# %% [markdown]
# # FGVCAircraft: which Boeing 737 is it?
#
# 10,000 photographs of aircraft, 100 images of each of 100 variants.
#
# What is hard in it:
#
# - The classes are variants, the finest of three levels: 100 variants, 70 families, 30
#   manufacturers. A 737-300 and a 737-500 differ in the length of the fuselage.
# - The names are codes: "737-300", "DC-9-30", "F-16A/B". They say little to CLIP, so zero-shot is
#   at its worst here, and the texts are poor prototypes.
# - Each image has a banner of 20 pixels at its foot with the name of the photographer. CoOp
#   leaves it in, and so does this notebook; cut it off only for photographs of your own.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import re

import numpy as np

import keras_cmm
from keras_cmm.data import sample_few_shot
from keras_cmm.data.benchmarks import get_benchmark
from keras_cmm.evaluation import top_1
from steps import DATA_DIR, PRESET, PROTOCOL, STORE, confusions, gaps, mistakes_sheet

# %% [markdown]
# ## The images
#
# The official lists `images_variant_{train,val,test}.txt` and `variants.txt` are read, not those
# of families and manufacturers, which lie beside them. The set is not in TFDS; under "tfds" our
# own builder `keras_cmm.data.benchmarks.tfds_builders.FGVCAircraft` reads the same lists.

# %%
benchmark = get_benchmark("fgvc_aircraft")
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

# %% [markdown]
# ## Mistakes
#
# How many mistakes stay in a family (Boeing's 7x7, Airbus's A320, A330 and A340, the BAE 146, the
# DHC-8)?

# %%
predictions = logits.argmax(axis=1)
mistakes = confusions(predictions, test.labels, train.class_names)

# %%
pattern = re.compile(r"(7\d7)-|(A3[34]0)-|(BAE 146)-|(DHC-8)-|(A3)(?:18|19|20|21)$")
matches = [pattern.match(name) for name in train.class_names]
families = np.array(
    [m[m.lastindex] if m else name for m, name in zip(matches, train.class_names, strict=True)]
)
wrong = predictions != test.labels
inside = wrong & (families[predictions] == families[test.labels])
print(f"{wrong.sum()} mistakes, {inside.sum()} of them inside a family")

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
