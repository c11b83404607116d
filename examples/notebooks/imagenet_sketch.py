# %% [markdown]
# # ImageNet-Sketch: lines without colour
#
# 50,889 black-and-white drawings of ImageNet's 1,000 classes, about 50 a class, found by
# searching for "sketch of" a class.
#
# What is hard in it:
#
# - No colour and no texture, on which classifiers that were trained on photographs lean. Outlines
#   are what is left.
# - The support set is of photographs only, so what CMM learns of how images and texts lie apart
#   is learned on another kind of image.
# - Images come from a search: some are no sketches, some show the thing as a logo.

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
# The archive unpacks to `sketch/`; CoOp calls the folder `images/`. About 50 images of each
# class, in folders by WordNet id.

# %%
shift = get_benchmark("imagenet_sketch")
test = shift.load("test", protocol=PROTOCOL, data_dir=DATA_DIR)
print(f"{shift.title}, protocol {PROTOCOL}: {len(test):,} images")

# %% [markdown]
# ## Zero-shot
#
# Two pairs of ImageNet's classes share a name, so names are made distinct and prompts stay as
# they are. All 1,000 classes are scored.

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
zero_shot = top_1(model.predict_embeddings(test_embeddings), test.labels)
print(f"zero-shot: {source_zero_shot:.1f} % on ImageNet, {zero_shot:.1f} % on {shift.title}")

# %% [markdown]
# The prompt says "photo". A prompt that says what the images are is knowledge of the shift, which
# the protocol does not allow; it shows how much the word weighs.

# %%
sketches = build_prompts(train.class_names, "a sketch of a {}.")
sketch_texts = TextEmbedder(load(PRESET)).class_prototypes(sketches)
as_sketch = top_1(test_embeddings @ sketch_texts.T, test.labels)
print(f'zero-shot with "a sketch of a {{}}.": {as_sketch:.1f} %')

# %% [markdown]
# ## CMM
#
# The question of a shift: does what was learned on ImageNet's photographs help on other images of
# the same things, or does it only fit the photographs? Compare the two gains.

# %%
history = model.fit_embeddings(support_embeddings, support.labels, seed=1, verbose=0)
logits = model.predict_embeddings(test_embeddings)
source_accuracy = top_1(model.predict_embeddings(source_embeddings), source_test.labels)
accuracy = top_1(logits, test.labels)
print(f"CMM, {sample.shots} shots: {source_accuracy:.1f} % and {accuracy:.1f} %")
source_gain, gain = source_accuracy - source_zero_shot, accuracy - zero_shot
print(f"over zero-shot: {source_gain:+.1f} on ImageNet, {gain:+.1f} on {shift.title}")

# %% [markdown]
# ## Mistakes
#
# Are they things that differ in colour alone?

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
before, after = gaps(model, test_embeddings, test.labels)
