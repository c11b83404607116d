# %% [markdown]
# # Quickstart
#
# From pictures to a few-shot classifier in a minute, offline: with the small CLIP that comes with
# the package, `emoji_clip_tiny`, and its demo pictures, drawings of people in 64 roles and
# activities that the model never saw. It says nothing about photographs; for those take a preset
# such as `clip_vit_base_patch32`, and nothing else changes.

# %%
import os
import tempfile

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras_cmm
from keras_cmm.data import DemoSet, sample_few_shot
from keras_cmm.evaluation import top_1
from steps import gaps

# %% [markdown]
# ## Pictures
#
# 16 pictures a class to learn from. For each class one of three people is drawn in the test set
# only.

# %%
demo = DemoSet.load()
sample = sample_few_shot(demo.train_labels, 16, seed=1, keys=demo.train_keys)
images, labels = demo.train_images[sample.indices], demo.train_labels[sample.indices]
print(f"{len(demo.class_names)} classes, {len(images)} pictures to learn from")

# %% [markdown]
# ## Zero-shot, then few-shot
#
# A new classifier knows the class names alone. `fit` embeds every picture once and trains a map
# from image to text space, and the class prototypes; CLIP itself stays frozen.

# %%
model = keras_cmm.CMMImageClassifier.from_preset(
    "emoji_clip_tiny", class_names=demo.class_names, template=["{}", "an emoji of a {}."]
)
test_embeddings = model.embed(demo.test_images)
zero_shot = top_1(model.predict_embeddings(test_embeddings), demo.test_labels)
history = model.fit(images, labels, verbose=0)
accuracy = top_1(model.predict_embeddings(test_embeddings), demo.test_labels)
print(f"zero-shot: {zero_shot:.1f} %, CMM with 16 shots: {accuracy:.1f} %")

# %% [markdown]
# The modality gap: how far apart the means of images and texts are, and how close an image is to
# the text of its class and to the closest wrong one.

# %%
before, after = gaps(model, test_embeddings, demo.test_labels)

# %% [markdown]
# ## Use it

# %%
for picture, guesses in zip(
    demo.test_keys[:3], model.classify(demo.test_images[:3], top_k=2), strict=True
):
    print(picture, [(name, round(probability, 2)) for name, probability in guesses])

# %% [markdown]
# A classifier is saved whole, with CLIP, and says the same when it is loaded.

# %%
with tempfile.TemporaryDirectory() as folder:
    model.save_to_preset(folder)
    again = keras_cmm.CMMImageClassifier.from_preset(folder)
same = again.classify(demo.test_images[:3], top_k=1)
print([guesses[0][0] for guesses in same])
