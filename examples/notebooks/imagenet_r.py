# %% [markdown]
# # ImageNet-R: renditions
#
# 30,000 images of 200 of ImageNet's classes as art, cartoons, graffiti, embroidery, origami,
# paintings, sculptures, tattoos, toys and video games.
#
# What is hard in it:
#
# - The things keep their shape and lose their look, in many ways at once: what helps on sketches
#   need not help on plush toys.
# - 200 classes, not 1,000, and not those of ImageNet-A: accuracy is measured among these 200.
# - The web that CLIP was trained on is full of renditions, so it does well here without any
#   training. A few-shot method that learns from photographs can lose that.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras_cmm
from keras_cmm.clip import TextEmbedder, build_prompts, load
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
# ## Trained on ImageNet
#
# A shift has test images only. The support set is ImageNet's, as in imagenet.py, and its own test
# images (ImageNet's validation split) show what the shift costs. With the store, what imagenet.py
# embedded is not embedded again.

# %%
imagenet = get_benchmark("imagenet")
train = imagenet.load("train", protocol=PROTOCOL, data_dir=DATA_DIR)
source_test = imagenet.load("test", protocol=PROTOCOL, data_dir=DATA_DIR)
sample = sample_few_shot(train.labels, 16, seed=1, keys=train.keys())
support = train.take(sample.indices)

# %% [markdown]
# ## The shifted images
#
# Folders by WordNet id. Which classes of ImageNet they are, `imagenet_classes` tells: class `i`
# here is class `classes[i]` there.

# %%
shift = get_benchmark("imagenet_r")
test = shift.load("test", protocol=PROTOCOL, data_dir=DATA_DIR)
classes = shift.imagenet_classes(protocol=PROTOCOL, data_dir=DATA_DIR)
print(f"{shift.title}, protocol {PROTOCOL}: {len(test):,} images of {len(classes)} classes")

# %% [markdown]
# ## Zero-shot
#
# Two pairs of ImageNet's classes share a name, so names are made distinct and prompts stay as
# they are. The columns of the other 800 classes are cut from the logits.

# %%
prompts = distinct_prompts(train.class_names, imagenet.prompt_template)
model = keras_cmm.CMMImageClassifier.from_preset(
    PRESET, class_names=list(prompts), template=None, descriptions=prompts
)
model.embedder.store = STORE
support_embeddings = model.embedder.embed(support.images).embeddings
source_embeddings = model.embedder.embed(source_test.images).embeddings
test_embeddings = model.embedder.embed(test.images).embeddings
source_zero_shot = top_1(model.predict_embeddings(source_embeddings), source_test.labels)
zero_shot = top_1(model.predict_embeddings(test_embeddings)[:, classes], test.labels)
print(f"zero-shot: {source_zero_shot:.1f} % on ImageNet, {zero_shot:.1f} % on {shift.title}")

# %% [markdown]
# Three of the seven templates of the usual ensemble speak of renditions ("a origami {}.", "art of
# the {}.", "a {} in a video game."), so a prompt made for ImageNet fits this set better than it
# should:

# %%
ensemble = build_prompts(test.class_names, "imagenet_7")
ensemble_texts = TextEmbedder(load(PRESET)).class_prototypes(ensemble)
with_ensemble = top_1(test_embeddings @ ensemble_texts.T, test.labels)
print(f"zero-shot with 7 templates: {with_ensemble:.1f} %")

# %% [markdown]
# ## CMM
#
# The question of a shift: does what was learned on ImageNet's photographs help on other images of
# the same things, or does it only fit the photographs? Compare the two gains.

# %%
history = model.fit_embeddings(support_embeddings, support.labels, seed=1, verbose=0)
logits = model.predict_embeddings(test_embeddings)[:, classes]
source_accuracy = top_1(model.predict_embeddings(source_embeddings), source_test.labels)
accuracy = top_1(logits, test.labels)
print(f"CMM, {sample.shots} shots: {source_accuracy:.1f} % and {accuracy:.1f} %")
source_gain, gain = source_accuracy - source_zero_shot, accuracy - zero_shot
print(f"over zero-shot: {source_gain:+.1f} on ImageNet, {gain:+.1f} on {shift.title}")

# %% [markdown]
# ## Mistakes
#
# Do toys and cartoons of related animals look more alike than the animals do?

# %%
predictions = logits.argmax(axis=1)
mistakes = confusions(predictions, test.labels, test.class_names)

# %%
mistakes_sheet(test, predictions)

# %% [markdown]
# ## The modality gap
#
# The map was learned on ImageNet's photographs. Whether it moves these images toward the texts of
# their classes too is in the cosines: CLIP's texts before, mapped images and trained prototypes
# after.

# %%
before, after = gaps(model, test_embeddings, test.labels, classes)
