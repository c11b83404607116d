# %% [markdown]
# # ImageNet: a thousand classes
#
# 1.28 million training and 50,000 test images of 1,000 classes. Its validation split is the
# field's test split, because the labels of the real one were never published.
#
# What is hard in it:
#
# - The names. OpenAI's names for the 1,000 classes, which the field prompts with, call two
#   classes "missile" and two "sunglasses". Texts cannot tell these apart: the two prototypes are
#   the same vector, and the hardest wrong class of an image is as close as the right one. The
#   triplet loss leaves identical prototypes out of each other's negatives; only images can part
#   them.
# - Fine kinds: over a hundred breeds of dogs are among the classes.
# - One label an image, though many images show several of the classes.
# - There is no validation split: whoever tunes must hold out training images, never the 50,000.
#
# 16 shots are 16,000 images, and with the test images 66,000 to embed: hours on a CPU for the
# first run, and none for the second, as the store keeps embeddings.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np

import keras_cmm
from keras_cmm.data import sample_few_shot
from keras_cmm.data.benchmarks import get_benchmark
from keras_cmm.evaluation import top_1
from steps import (
    DATA_DIR,
    PRESET,
    PROTOCOL,
    STORE,
    confusions,
    distinct_prompts,
    gaps,
    mistakes_sheet,
)

# %% [markdown]
# ## The images
#
# The training folders are listed, 1.28 million files, and only what is drawn is read. Class names
# come from `imagenet/classnames.txt`, under both protocols.

# %%
benchmark = get_benchmark("imagenet")
train = benchmark.load("train", protocol=PROTOCOL, data_dir=DATA_DIR)
test = benchmark.load("test", protocol=PROTOCOL, data_dir=DATA_DIR)
sample = sample_few_shot(train.labels, 16, seed=1, keys=train.keys())
support = train.take(sample.indices)
print(f"{len(train):,} train images, {len(support):,} of them drawn, {len(test):,} test images")

# %% [markdown]
# The names that two classes share:

# %%
names = np.array(train.class_names)
shared = sorted({name for name in names.tolist() if (names == name).sum() > 1})
for name in shared:
    print(name, np.flatnonzero(names == name).tolist())

# %% [markdown]
# ## Zero-shot
#
# A classifier needs distinct names. `distinct_prompts` calls one class "missile (657)" and leaves
# its prompt "a photo of a missile.", so zero-shot is what the field calls zero-shot. (Some
# papers use the ensemble of 7 templates instead, `PROMPT_TEMPLATES["imagenet_7"]`.)

# %%
prompts = distinct_prompts(train.class_names, benchmark.prompt_template)
model = keras_cmm.CMMImageClassifier.from_preset(
    PRESET, class_names=list(prompts), template=None, descriptions=prompts
)
model.embedder.store = STORE
support_embeddings = model.embedder.embed(support.images).embeddings
test_embeddings = model.embedder.embed(test.images).embeddings
zero_shot = top_1(model.predict_embeddings(test_embeddings), test.labels)
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
# Classes that share a name had the same prototype. Did the images part them?

# %%
predictions = logits.argmax(axis=1)
for name in shared:
    rows = np.isin(test.labels, np.flatnonzero(names == name))
    right_name = names[predictions[rows]] == name
    right_class = predictions[rows] == test.labels[rows]
    print(f"{name}: {right_name.sum()} of {rows.sum()} right by name, {right_class.sum()} by class")

# %% [markdown]
# ## Mistakes
#
# With 50 test images a class, a pair that is confused 25 times is one class to the model.

# %%
mistakes = confusions(predictions, test.labels, model.class_names)

# %%
mistakes_sheet(test, predictions)

# %% [markdown]
# ## The modality gap
#
# How far apart the means of images and texts are, and how close a test image is to the text of
# its class and to the closest wrong one: CLIP's texts before, mapped images and trained
# prototypes after. Classes of the same text are never each other's wrong class.

# %%
before, after = gaps(model, test_embeddings, test.labels)
