# %% [markdown]
# # EuroSAT: land use from space
#
# 27,000 crops of Sentinel-2 images in 10 classes of land use. Each crop is 64 x 64 pixels of 10
# m, so a house is a pixel or two.
#
# What is hard in it:
#
# - CLIP was trained on pictures from the web, and few of those were taken straight down from
#   orbit. Zero-shot is weak here, and labelled images have much to add.
# - Zero-shot hangs on the words. The folders are called `AnnualCrop`, `SeaLake`, ...; the names
#   that the field prompts with, such as "Annual Crop Land" or "Sea or Lake", are other ones.
#   Below are both.
# - A crop has one label but often several kinds of land: a highway runs through fields.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras_cmm
from keras_cmm.clip import TextEmbedder, build_prompts, load
from keras_cmm.data import sample_few_shot
from keras_cmm.data.benchmarks import get_benchmark
from keras_cmm.evaluation import top_1
from steps import DATA_DIR, PRESET, PROTOCOL, STORE, confusions, gaps, mistakes_sheet

# %% [markdown]
# ## The images
#
# Take the RGB pictures (`EuroSAT_RGB`, called `2750` by CoOp), not the 13-channel TIFFs. TFDS has
# no test split: under "tfds" the classes are split here, by a hash of the images' keys, in the
# shares of CoOp's split.

# %%
benchmark = get_benchmark("eurosat")
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
# How much of that is due to the words: the same prompt with the names of the folders.

# %%
folders = {
    "Annual Crop Land": "AnnualCrop",
    "Herbaceous Vegetation Land": "HerbaceousVegetation",
    "Highway or Road": "Highway",
    "Industrial Buildings": "Industrial",
    "Pasture Land": "Pasture",
    "Permanent Crop Land": "PermanentCrop",
    "Residential Buildings": "Residential",
    "Sea or Lake": "SeaLake",
}
names = [folders.get(name, name) for name in train.class_names]
folder_texts = TextEmbedder(load(PRESET)).class_prototypes(
    build_prompts(names, benchmark.prompt_template)
)
with_folder_names = top_1(test_embeddings @ folder_texts.T, test.labels)
print(f"zero-shot with the folders' names: {with_folder_names:.1f} %")

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
# Look for the pairs that share their ground: annual and permanent crops, pasture and herbaceous
# vegetation, rivers and highways.

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
