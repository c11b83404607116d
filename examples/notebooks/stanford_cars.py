# %% [markdown]
# # StanfordCars: make, model and year
#
# 16,185 photographs of cars in 196 classes, each a make, a model, a body and a year, such as
# "2012 Acura RL Sedan".
#
# What is hard in it:
#
# - Classes of one model differ in the year or the body alone: a coupé and a convertible of the
#   same name, or two years with other lamps.
# - The year is in the name, and CLIP reads numbers badly; on the car it is not written anywhere.
# - The original download is gone. Copies are often renamed or sorted anew, which no split file
#   fits: `keras-cmm datasets check stanford_cars` finds that out.

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
# Names have the year first, as CLIP's authors wrote them; TFDS has it last, and it is moved. The
# test split of both protocols is the same.

# %%
benchmark = get_benchmark("stanford_cars")
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
# How much of a name is right where the whole is wrong? The year is cut off, then all but the make
# is.

# %%
predictions = logits.argmax(axis=1)
mistakes = confusions(predictions, test.labels, train.class_names)

# %%
models = np.array([re.sub(r"\b(19|20)\d\d\b", "", name).strip() for name in train.class_names])
makes = np.array([name.split()[0] for name in models])
wrong = predictions != test.labels
other_year = wrong & (models[predictions] == models[test.labels])
same_make = wrong & (makes[predictions] == makes[test.labels])
print(
    f"{wrong.sum()} mistakes: {same_make.sum()} of the right make, {other_year.sum()} of them of "
    "the right model and another year"
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
