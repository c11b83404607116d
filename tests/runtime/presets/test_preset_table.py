"""The table of presets: whole, not stale, and its names are found from near ones."""

import json
import re

import pytest

from keras_cmm import clip
from keras_cmm.hub.licence import UNKNOWN, licence_of
from keras_cmm_runtime.presets import known_presets, near_presets

PRESETS = {preset.name: preset for preset in known_presets()}


def test_all_rows_are_whole():
    assert len(PRESETS) == len(known_presets())
    for preset in PRESETS.values():
        assert preset.source in ("bundled", "keras-hub", "transformers", "OpenCLIP")
        assert preset.image_size > 0
        assert preset.good_for
        assert preset.licence
        # No figure without its publication.
        assert (preset.imagenet_top1 is None) == (preset.imagenet_source == "")
        if preset.imagenet_top1 is not None:
            assert 50 < preset.imagenet_top1 < 90
            assert re.match(
                r"https://github\.com/[\w/-]+/blob/[0-9a-f]{40}/", preset.imagenet_source
            )


def test_the_presets_of_keras_hub_are_all_there():
    """Fails when keras-hub has new ones: add them to presets.csv."""
    import keras_hub

    models = keras_hub.models
    kinds = (
        *(models.CLIPBackbone, models.SigLIPBackbone, models.MetaCLIP2Backbone),
        *(models.DINOV2Backbone, models.DINOV3Backbone),
    )
    theirs = {name: preset for kind in kinds for name, preset in kind.presets.items()}
    ours = {name for name, preset in PRESETS.items() if preset.source == "keras-hub"}
    assert ours == set(theirs)
    for name, preset in theirs.items():
        parameters = preset["metadata"]["params"] / 1e6
        assert PRESETS[name].parameters_millions == pytest.approx(parameters, abs=0.051)


def test_the_bundled_presets_are_there():
    bundled = {name for name, preset in PRESETS.items() if preset.source == "bundled"}
    assert bundled == set(clip.BUNDLED_PRESETS)
    for name in bundled:
        config = json.loads((clip.BUNDLED_PRESETS[name] / "config.json").read_text())["config"]
        side = config["vision_encoder"]["config"]["image_shape"][0]
        assert (PRESETS[name].image_size, PRESETS[name].embedding_dim) == (
            side,
            config["projection_dim"],
        )


def test_licences_are_those_of_model_cards():
    for name, preset in PRESETS.items():
        licence = licence_of(name)
        if licence is not UNKNOWN:
            assert preset.licence == licence.identifier, name


def test_one_model_under_two_names_has_one_row():
    for name, preset in PRESETS.items():
        other = PRESETS.get(f"google/{name.replace('_', '-')}")
        if other is not None:
            assert other[2:] == preset[2:]


def test_the_python_api_is_the_table():
    assert clip.known_presets() is known_presets()


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("clip_vit_base_patch61", "clip_vit_base_patch16"),
        ("CLIP-ViT-Base-Patch16", "clip_vit_base_patch16"),
        ("openai/clip-vit-base-patch23", "openai/clip-vit-base-patch32"),
        ("hf://google/siglip2-base-patch16-2240", "google/siglip2-base-patch16-224"),
        ("siglip2_base_p16_224", "siglip2_base_patch16_224"),
        ("emoji_clip", "emoji_clip_tiny"),
        ("ViT-B-16-DataComp", "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K"),
        ("new_presett", "new_preset"),
    ],
)
def test_names_near_to_a_wrong_one(given, nearest):
    assert near_presets(given, ["new_preset"])[0] == nearest


@pytest.mark.parametrize("given", ["", "x", "my_pets", "clip_vit_base_patch16", "z" * 10**6])
def test_no_names_are_near(given):
    assert near_presets(given) == []
