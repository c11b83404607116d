# %% [markdown]
# # UCF101: actions from one frame
#
# 13,320 videos of 101 human actions. The field takes one frame of each, from its middle, and
# makes an image set of it.
#
# What is hard in it:
#
# - Actions that need motion: in one frame, a long jump and a high jump are a person who runs; a
#   cricket bowler and a cricket shot share the field.
# - The videos come in 25 groups an action; those of a group show the same person in the same
#   place. The test videos are of groups 1 to 7, the training videos of the others. CoOp draws
#   validation at random from the training videos, so it shares groups with training and flatters:
#   do not read it as an estimate of the test.
# - The frames must be the middle ones: the same method on other frames gives other numbers.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import re

import keras_cmm
from keras_cmm.data import sample_few_shot
from keras_cmm.data.benchmarks import get_benchmark
from keras_cmm.evaluation import top_1
from steps import DATA_DIR, PRESET, PROTOCOL, STORE, confusions, gaps, mistakes_sheet

# %% [markdown]
# ## The images
#
# Class names are made from the folders: `Apply_Eye_Makeup`, cleaned to "Apply Eye Makeup" for the
# prompt "a photo of a person doing {}.". TFDS's `ucf101` has the videos alone; under "tfds" our
# builder `keras_cmm.data.benchmarks.tfds_builders.UCF101MiddleFrames` reads the frames.

# %%
benchmark = get_benchmark("ucf101")
train = benchmark.load("train", protocol=PROTOCOL, data_dir=DATA_DIR)
test = benchmark.load("test", protocol=PROTOCOL, data_dir=DATA_DIR)
print(f"{benchmark.title}, protocol {PROTOCOL}: {len(train):,} train, {len(test):,} test images")
print("classes:", ", ".join(train.class_names[:12]), "...")

# %% [markdown]
# 16 images a class are the support set. The draw depends on the seed and the images' keys alone.
# 16 frames may be of a few groups only, so they show less than 16 independent pictures would:
# here is how many groups a class has among its shots, where file names tell.

# %%
sample = sample_few_shot(train.labels, 16, seed=1, keys=train.keys())
support = train.take(sample.indices)
print(f"{len(support):,} support images")
groups = {
    (label, match[1])
    for key, label in zip(support.keys(), support.labels.tolist(), strict=True)
    if (match := re.search(r"_g(\d+)_", key))
}
if groups:
    print(f"{len(groups) / len(train.class_names):.1f} groups a class")

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
# Are they sports on the same ground, and instruments that are held alike?

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
