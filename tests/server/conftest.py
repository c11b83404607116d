import contextlib
import io
import threading
import time

import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient
from tiny_onnx import write_tiny_onnx

from keras_cmm_runtime import OnnxClassifier
from keras_cmm_server import create_app


@pytest.fixture(scope="session")
def served_model(tmp_path_factory):
    """The folder of a tiny model. Tests must not change it."""
    return write_tiny_onnx(tmp_path_factory.mktemp("served") / "colours")


@pytest.fixture(scope="session")
def classifier(served_model):
    return OnnxClassifier.load(served_model)


@pytest.fixture(autouse=True)
def _pixel_limit(monkeypatch):
    """The server sets Pillow's limit, which belongs to the process."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


@pytest.fixture
def client_of():
    """Starts the app of a classifier and its settings; returns a client of it."""
    with contextlib.ExitStack() as stack:

        def start(classifier, settings=None, **options):
            app = create_app(classifier, "colours", settings)
            base = "http://localhost:8000"
            return stack.enter_context(TestClient(app, base_url=base, **options))

        yield start


@pytest.fixture
def client(client_of, classifier):
    return client_of(classifier)


@pytest.fixture
def address_of():
    """Runs the app of a classifier on uvicorn in a thread; returns `host:port`."""
    with contextlib.ExitStack() as stack:

        def start(classifier, settings=None):
            app = create_app(classifier, "colours", settings)
            server = uvicorn.Server(
                uvicorn.Config(app, port=0, log_config=None, lifespan="on", ws="none")
            )
            thread = threading.Thread(target=server.run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(setattr, server, "should_exit", True)
            deadline = time.monotonic() + 60
            while not server.started:
                assert time.monotonic() < deadline
                assert thread.is_alive()
                time.sleep(0.01)
            return f"localhost:{server.servers[0].sockets[0].getsockname()[1]}"

        yield start


@pytest.fixture
def address(address_of, classifier):
    return address_of(classifier)


@pytest.fixture(scope="session")
def picture():
    """Returns the PNG file of one colour."""

    def encode(colour=(200, 30, 40), size=(24, 20)):
        file = io.BytesIO()
        Image.new("RGB", size, colour).save(file, "PNG")
        return file.getvalue()

    return encode


@pytest.fixture(scope="session")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), "uint8")
