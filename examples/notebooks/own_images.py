# %% [markdown]
# # Your own images
#
# One folder a class is all that is needed. Here the demo pictures are written as such a folder;
# put the path of yours in place of it, and for photographs take a preset such as
# `clip_vit_base_patch32`.

# %%
import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np

import keras_cmm
from keras_cmm.clip import EmbeddingStore
from keras_cmm.data import DemoSet, ImageList, sample_few_shot
from keras_cmm.evaluation import top_1
from steps import confusions, mistakes_sheet

# %%
folder = Path(tempfile.mkdtemp())
DemoSet.load().export(folder / "pictures")
pool = ImageList.from_folder(folder / "pictures" / "train")
test = ImageList.from_folder(folder / "pictures" / "test", class_names=pool.class_names)
print(f"{len(pool)} pictures of {len(pool.class_names)} classes, {len(test)} to test on")

# %% [markdown]
# ## Class names
#
# The names of the folders are the texts that CLIP reads, so they should be words. Look at the
# prompts once: "n02084071" or "type_b" say nothing to it. Sentences of your own go into
# `descriptions`.

# %%
descriptions = {name: [f"an emoji of a {name}."] for name in pool.class_names}
descriptions["judge"] = ["an emoji of a judge.", "a person in a court of law."]

# %% [markdown]
# ## Fit
#
# Pictures that were drawn for validation are used for the temperature only, which makes the
# probabilities honest. With a store, no picture is embedded twice: not by a second fit either.

# %%
sample = sample_few_shot(pool.labels, 8, seed=1, keys=pool.keys())
held_out = sample_few_shot(pool.labels, 4, seed=1, keys=pool.keys(), exclude=sample.indices)
support, validation = pool.take(sample.indices), pool.take(held_out.indices)

model = keras_cmm.CMMImageClassifier.from_preset(
    "emoji_clip_tiny", class_names=pool.class_names, template="{}", descriptions=descriptions
)
model.embedder.store = EmbeddingStore(folder / "embeddings")
zero_shot = top_1(model.predict(test.paths), test.labels)
history = model.fit(
    support.paths,
    support.labels,
    validation_data=(validation.paths, validation.labels),
    verbose=0,
)
logits = model.predict(test.paths)
accuracy = top_1(logits, test.labels)
print(f"zero-shot: {zero_shot:.1f} %, CMM with 8 shots: {accuracy:.1f} %")
print(f"embeddings that were found in the store: {model.embedder.store.taken}")

# %% [markdown]
# ## Mistakes
#
# Before more training, look at what is confused: a wrong label, a class that is two, or two that
# are one, costs more than any setting.

# %%
predictions = logits.argmax(axis=1)
mistakes = confusions(predictions, test.labels, test.class_names, most=6)

# %%
mistakes_sheet(test, predictions)

# %% [markdown]
# ## How sure is it?
#
# What to leave to a person: pictures whose best class has a low probability.

# %%
best = np.array([guesses[0][1] for guesses in model.classify(test.paths, top_k=1)])
for share in (0.5, 0.8, 1.0):
    rows = np.argsort(-best, kind="stable")[: int(share * len(best))]
    print(f"the surest {share:.0%}: {100 * np.mean(predictions[rows] == test.labels[rows]):.1f} %")
