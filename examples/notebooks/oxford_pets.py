# %% [markdown]
# # OxfordPets: breeds of cats and dogs
#
# 12 breeds of cats and 25 of dogs, about 200 photographs each, in all poses and lights.
#
# What is hard in it:
#
# - Fine differences: an American pit bull terrier and a Staffordshire bull terrier, a Birman and
#   a ragdoll, are told apart by what owners know, not by a glance.
# - Names that mean other things: `boxer`, `persian`, `bombay`, `bengal`. The prompt of the field
#   ends with "a type of pet" for that reason; below is zero-shot without it.
# - CLIP knows most breeds, so few-shot methods that fit 16 images too closely lose here.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np

import keras_cmm
from keras_cmm.clip import TextEmbedder, build_prompts, load
from keras_cmm.data import sample_few_shot
from keras_cmm.data.benchmarks import get_benchmark
from keras_cmm.evaluation import top_1
from steps import DATA_DIR, PRESET, PROTOCOL, STORE, confusions, gaps, mistakes_sheet

# %% [markdown]
# ## The images
#
# Some files called .jpg are PNG or GIF inside; they are read by their content. The test split of
# TFDS is the same; what differs is which train images are kept for validation.

# %%
benchmark = get_benchmark("oxford_pets")
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
# Without the words that say it is a pet:

# %%
bare = build_prompts(train.class_names, "a photo of a {}.")
bare_texts = TextEmbedder(load(PRESET)).class_prototypes(bare)
without_type = top_1(test_embeddings @ bare_texts.T, test.labels)
print(f'zero-shot with "a photo of a {{}}.": {without_type:.1f} %')

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
# Look first whether a cat is ever taken for a dog.

# %%
predictions = logits.argmax(axis=1)
mistakes = confusions(predictions, test.labels, train.class_names)

# %%
cats = {
    "abyssinian",
    "bengal",
    "birman",
    "bombay",
    "british_shorthair",
    "egyptian_mau",
    "maine_coon",
    "persian",
    "ragdoll",
    "russian_blue",
    "siamese",
    "sphynx",
}
is_cat = np.array([name in cats for name in train.class_names])
wrong = predictions != test.labels
across = is_cat[predictions] != is_cat[test.labels]
print(f"{wrong.sum()} mistakes, {across.sum()} of them between cats and dogs")

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
