"""Compares with OpenCLIP itself, one small model of each family, from pixels and texts."""

import numpy as np
import pytest
from fixtures.varied_images import varied_images
from open_clip_folders import FAMILIES, import_or_skip, make_folder

open_clip = import_or_skip("open_clip")
torch = import_or_skip("torch")

from keras_cmm import CMMImageClassifier, clip  # noqa: E402
from keras_cmm_runtime import OnnxClassifier  # noqa: E402

TEXTS = ["a photo of a cat.", "The DOG&amp;s   blue fox!", "", "bird, bird; 2 birds", "fox " * 40]


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp(request.param), request.param)


@pytest.mark.filterwarnings("ignore:.*that the model reads, so the end is cut off")
def test_embeddings_are_those_of_open_clip(folder):
    theirs, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    pictures = [image.convert("RGB") for image in varied_images()]
    with torch.inference_mode():
        theirs.eval()
        pixels = torch.stack([preprocess(picture) for picture in pictures])
        images = theirs.encode_image(pixels, normalize=True).numpy()
        texts = theirs.encode_text(tokenizer(TEXTS), normalize=True).numpy()
    model = clip.load(folder)
    embedder = clip.ImageEmbedder(model)
    assert type(model.backbone).__name__ == "TorchBackbone"
    ours = np.stack([embedder.preprocessor(picture) for picture in pictures])
    np.testing.assert_allclose(ours, pixels.permute(0, 2, 3, 1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(embedder.embed(pictures).embeddings, images, rtol=0, atol=1e-5)
    np.testing.assert_allclose(clip.TextEmbedder(model).embed(TEXTS), texts, rtol=0, atol=1e-5)
    assert images.std(axis=0).max() > 1e-3
    assert texts.std(axis=0).max() > 1e-3
    assert embedder.encoder.logit_scale == pytest.approx(theirs.logit_scale.exp().item())


def test_token_ids_are_those_of_open_clip(folder):
    model = clip.load(folder)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    with pytest.warns(UserWarning, match="1 of 5 texts is longer than the 20 tokens"):
        ours = model.tokenizer.token_ids(TEXTS)
    np.testing.assert_array_equal(ours, tokenizer(TEXTS))


@pytest.mark.parametrize(
    "family", ["custom_text", "clipa", "coca", "convnext", "eva", "pe_core", "siglip"]
)
def test_onnx_file(family, tmp_path):
    folder = make_folder(tmp_path / "model", family)
    names = ["cat", "dog", "bird"]
    classifier = CMMImageClassifier.from_preset(folder, class_names=names)
    classifier.export(tmp_path / "classifier.onnx", verbose=False)
    exported = OnnxClassifier(tmp_path / "classifier.onnx")
    pictures = [image.convert("RGB") for image in varied_images()]
    ours = classifier.predict(pictures)
    assert ours.std(axis=0).max() > 1e-3
    np.testing.assert_allclose(exported.predict(pictures), ours, rtol=0, atol=2e-3)


def test_a_saved_model_needs_its_folder_no_more(folder, tmp_path):
    model = clip.load(folder)
    clip.save_preset(model, tmp_path / "preset")
    hidden = folder.with_name(f"{folder.name}-hidden")
    folder.rename(hidden)
    try:
        again = clip.load(tmp_path / "preset")
        texts = TEXTS[:2]
        for embedder, given in ((clip.ImageEmbedder, varied_images()), (clip.TextEmbedder, texts)):
            ours, theirs = embedder(model).embed(given), embedder(again).embed(given)
            if embedder is clip.ImageEmbedder:
                ours, theirs = ours.embeddings, theirs.embeddings
            np.testing.assert_array_equal(ours, theirs)
        digests = [clip.KerasHubEncoder(each).digest() for each in (model, again)]
        assert digests[0] == digests[1]
    finally:
        hidden.rename(folder)
