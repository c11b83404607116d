import keras
import numpy as np
import pytest

from keras_cmm import clip
from keras_cmm.clip.encoders import engine_choice, image_engine
from keras_cmm_runtime.errors import InputError

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="ONNX Runtime takes over on the torch backend alone"
)


@pytest.fixture(autouse=True)
def _own_home(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_CMM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KERAS_CMM_EMBEDDER", raising=False)


@pytest.fixture
def large_jobs(monkeypatch):
    """Makes a job of one image a large one, and the measurement short."""
    monkeypatch.setattr(image_engine, "_SMALL_JOB", 1.0)
    monkeypatch.setattr(engine_choice.fastest_engine, "__defaults__", (0.0,))


def pixels(count=5):
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), "uint8")


def chosen(embedder):
    return embedder.encoder._engine._chosen


def test_both_engines_embed_alike(tiny_model):
    by_keras = clip.ImageEmbedder(tiny_model, engine="keras").embed_pixels(pixels())
    by_onnx = clip.ImageEmbedder(tiny_model, engine="onnx").embed_pixels(pixels())
    assert by_onnx.dtype == np.float32
    np.testing.assert_allclose(by_onnx, by_keras, atol=1e-5)


def test_changed_weights_are_noticed(tiny_preset):
    model = clip.load(tiny_preset)
    embedder = clip.ImageEmbedder(model, engine="onnx")
    before = embedder.embed_pixels(pixels())
    kernel = model.backbone.vision_projection.kernel
    kernel.assign(keras.ops.flip(kernel, axis=1))
    after = embedder.embed_pixels(pixels())
    np.testing.assert_allclose(after, before[:, ::-1], atol=1e-5)


def test_small_jobs_run_on_keras_and_measure_nothing(tiny_model, tmp_path):
    embedder = clip.ImageEmbedder(tiny_model)
    seen = []
    embedder.encoder._engine._tower._open = lambda: seen.append("a session was opened")
    embedder.embed(list(pixels()))
    embedder.embed_pixels(pixels())
    assert seen == []
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("faster", ["keras", "onnx"])
def test_a_large_job_takes_the_faster_and_remembers_it(
    tiny_model, monkeypatch, tmp_path, large_jobs, faster
):
    times = []

    def measured(model, engines):
        for run in engines.values():
            run()
        times.append(model)
        engine_choice._remember(model, {"engine": faster})
        return faster

    monkeypatch.setattr(image_engine, "fastest_engine", measured)
    embedder = clip.ImageEmbedder(tiny_model)
    used = []
    run = embedder.encoder.embed_pixels
    monkeypatch.setattr(
        embedder.encoder,
        "embed_pixels",
        lambda batch: (run(batch), used.append(chosen(embedder)))[0],
    )
    embedder.embed(list(pixels()))
    assert used == [faster]
    # Another process finds the choice in the file.
    again = clip.ImageEmbedder(tiny_model)
    again.encoder.expect(10)
    again.embed_pixels(pixels())
    assert chosen(again) == faster
    assert len(times) == 1


def test_the_measurement_names_the_faster_and_survives_damage(tmp_path):
    import time

    engines = {"slow": lambda: time.sleep(0.02), "fast": lambda: None}
    assert engine_choice.fastest_engine("model", engines, seconds=0.0) == "fast"
    assert engine_choice.remembered_choice("model", ("slow", "fast")) == "fast"
    assert engine_choice.remembered_choice("other model", ("slow", "fast")) is None
    # An engine that this version does not have.
    assert engine_choice.remembered_choice("model", ("slow",)) is None
    (tmp_path / "home" / "engines.json").write_text("{")
    assert engine_choice.remembered_choice("model", ("slow", "fast")) is None
    assert engine_choice.fastest_engine("model", engines, seconds=0.0) == "fast"
    assert engine_choice.remembered_choice("model", ("slow", "fast")) == "fast"


def test_a_folder_that_cannot_be_written_costs_the_memory_alone(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KERAS_CMM_HOME", str(tmp_path / "file"))
    assert engine_choice.fastest_engine("model", {"only": lambda: None}, seconds=0.0) == "only"
    assert engine_choice.remembered_choice("model", ("only",)) is None


def test_a_fixed_engine_has_embeddings_of_its_own_in_a_store(tiny_model, monkeypatch):
    digests = [
        clip.KerasHubEncoder(tiny_model, engine=engine).digest()
        for engine in ("auto", "keras", "onnx")
    ]
    assert "engine" not in digests[0]
    assert [digest["engine"] for digest in digests[1:]] == ["keras", "onnx"]
    monkeypatch.setenv("KERAS_CMM_EMBEDDER", "onnx")
    assert clip.KerasHubEncoder(tiny_model).digest() == digests[2]


def test_what_onnx_runtime_cannot_run_stays_with_keras(tiny_preset, large_jobs):
    model = clip.load(tiny_preset, dtype="bfloat16")
    embedder = clip.ImageEmbedder(model)
    embedder.encoder.expect(10)
    embedder.embed_pixels(pixels())
    assert chosen(embedder) == "keras"
    with pytest.raises(InputError, match=r'"onnx" needs the torch backend.*bfloat16'):
        clip.ImageEmbedder(model, engine="onnx")


def test_pixels_that_are_no_whole_numbers_run_on_keras(tiny_model):
    by_onnx = clip.ImageEmbedder(tiny_model, engine="onnx")
    half = pixels().astype("float32") + 0.5
    expected = clip.ImageEmbedder(tiny_model, engine="keras").embed_pixels(half)
    np.testing.assert_array_equal(by_onnx.embed_pixels(half), expected)


def test_mistaken_engines(tiny_model, monkeypatch):
    with pytest.raises(InputError, match=r"`engine` must be one of .* engine='fast'"):
        clip.ImageEmbedder(tiny_model, engine="fast")
    with pytest.raises(ValueError, match="which is an engine itself"):
        clip.ImageEmbedder(clip.KerasHubEncoder(tiny_model), engine="onnx")
    monkeypatch.setenv("KERAS_CMM_EMBEDDER", "fast")
    with pytest.raises(InputError, match="`KERAS_CMM_EMBEDDER` must be one of"):
        clip.ImageEmbedder(tiny_model)
