import os

# Set before Keras is imported: the package's first backend, unless a run asks for another.
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Each of several workers has a core: more threads than cores would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

# How long an example takes says more about the load of the machine than about the code.
hypothesis.settings.register_profile("keras_cmm", deadline=None)
hypothesis.settings.load_profile("keras_cmm")

# `--doctest-modules` would import all as one module of the name `conftest`.
collect_ignore = ["conftest.py"] + [
    f"{folder}/conftest.py" for folder in ("cli", "export", "models", "server", "studio")
]


# Last, since the places count among the tests that are left when marks have left some out.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Gives the longest to different workers, which begin with them: each takes an equal part."""
    longest = [item for item in items if "test_backends" in item.nodeid]
    total = len(items)
    items[:] = [item for item in items if item not in longest]
    for number, item in enumerate(longest):
        # One further than where a part begins: rounding must not make it the end of another.
        items.insert(number * total // len(longest) + number, item)


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory):
    """Keeps the store of commands out of the user's own caches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_CMM_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def tiny_preset(tmp_path_factory):
    """The folder of a CLIP preset of random weights, see `tiny_clip.py`."""
    from tiny_clip import make_tiny_preset

    return make_tiny_preset(tmp_path_factory.mktemp("tiny_clip"))


@pytest.fixture(scope="session")
def tiny_model(tiny_preset):
    """The model of that preset. Tests must not change it."""
    from keras_cmm import clip

    return clip.load(tiny_preset)


@pytest.fixture(scope="session")
def transformers_model():
    """A CLIP model of transformers with random weights. Tests must not change it."""
    from transformers_clip import make_model

    return make_model("ViT-B/32")


@pytest.fixture(scope="session")
def transformers_checkpoint(transformers_model, tmp_path_factory):
    """The folder that transformers saves of that model. Tests must not change it."""
    from transformers_clip import save_checkpoint

    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"), transformers_model)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hugging Face hub without models, and a cache without files; see `hub_server.py`."""
    from hub_server import running_hub

    with running_hub(tmp_path, monkeypatch) as server:
        yield server
