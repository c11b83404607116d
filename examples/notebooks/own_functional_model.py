# %% [markdown]
# # Cross-Modal Mapping in a functional model of your own
#
# `CMMClassifier` is one way to put the parts together. The parts are Keras: a layer that maps
# image embeddings, a layer of prototypes, and a loss on their similarities. This notebook builds
# a model with a low-rank map and dropout, which no ready-made class has.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np

from keras_cmm.clip import ImageEmbedder, TextEmbedder, build_prompts, load, logit_scale
from keras_cmm.data import DemoSet, sample_few_shot
from keras_cmm.evaluation import top_1
from keras_cmm.layers import ClassPrototypes, CrossModalMapping
from keras_cmm.losses import CrossModalTripletLoss
from steps import STORE

# %% [markdown]
# ## Embeddings
#
# CLIP is frozen, so it runs once over images and prompts; what is trained sees embeddings only.

# %%
demo = DemoSet.load()
clip = load("emoji_clip_tiny")
embedder = ImageEmbedder(clip, store=STORE)
rows = sample_few_shot(demo.train_labels, 16, seed=1, keys=demo.train_keys).indices
x, y = embedder.embed(demo.train_images[rows]).embeddings, demo.train_labels[rows]
x_test, y_test = embedder.embed(demo.test_images).embeddings, demo.test_labels
texts = TextEmbedder(clip).class_prototypes(build_prompts(demo.class_names, "an emoji of a {}."))
scale = logit_scale(clip.backbone)
zero_shot = top_1(x_test @ texts.T, y_test)
print(f"{len(x)} embeddings of {x.shape[1]} dimensions, zero-shot: {zero_shot:.1f} %")

# %% [markdown]
# ## The model
#
# The map starts at the identity, so before training the similarities are CLIP's. CLIP's own
# logits are added to those of the mapped images. The triplet loss takes similarities, so these
# are an output beside the logits.

# %%
keras.utils.set_random_seed(1)
inputs = keras.Input(shape=(x.shape[1],), name="image_embeddings")
clip_similarities = ClassPrototypes.from_embeddings(texts, name="clip")
clip_similarities.trainable = False
mapped = CrossModalMapping(rank=16, name="mapping")(keras.layers.Dropout(0.1)(inputs))
similarities = ClassPrototypes.from_embeddings(texts, name="similarities")(mapped)
fused = keras.layers.Add()([clip_similarities(inputs), similarities])
logits = keras.layers.Rescaling(scale, name="logits")(fused)

model = keras.Model(inputs, {"logits": logits, "similarities": similarities})
model.compile(
    optimizer=keras.optimizers.AdamW(1e-3),
    loss={
        "logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "similarities": CrossModalTripletLoss(margin=0.1),
    },
    metrics={"logits": "accuracy"},
)

# %%
history = model.fit(
    x, {"logits": y, "similarities": y}, batch_size=256, epochs=30, shuffle=True, verbose=0
)
for name in ("loss", "logits_loss", "similarities_loss"):
    values = history.history[name]
    print(f"{name}: {values[0]:.3f} -> {values[-1]:.3f}")

# %%
outputs = model.predict(x_test, verbose=0)
accuracy = top_1(outputs["logits"], y_test)
mapped_alone = top_1(outputs["similarities"], y_test)
print(f"zero-shot: {zero_shot:.1f} %, fused: {accuracy:.1f} %, mapped alone: {mapped_alone:.1f} %")

# %% [markdown]
# What the map did to an image's cosine with the text of its class, on test images:

# %%
mapping = keras.Model(inputs, mapped)
moved = mapping.predict(x_test, verbose=0)
for name, embeddings in (("before", x_test), ("after", moved)):
    cosines = np.sum(embeddings * texts[y_test], axis=1)
    print(f"{name}: {cosines.mean():.3f}")
