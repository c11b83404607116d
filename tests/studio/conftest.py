import contextlib

import pytest
from PIL import Image
from starlette.testclient import TestClient

from keras_cmm_studio import Engine, Project, create_app


@pytest.fixture(autouse=True)
def _pixel_limit(monkeypatch):
    """The studio sets Pillow's limit, which belongs to the process."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


@pytest.fixture
def project(tmp_path):
    with Project(tmp_path / "project") as project:
        yield project


@pytest.fixture
def client_of(project):
    """Starts the app on a project; returns a client of it. CLIP cannot be loaded by default."""
    with contextlib.ExitStack() as stack:

        def refuse():
            raise RuntimeError("no CLIP in this test")

        def start(load=refuse, base="http://127.0.0.1:8400", write=None, **options):
            app = create_app(Engine(project, load, "tiny", write), **options)
            return stack.enter_context(
                TestClient(app, base_url=base, raise_server_exceptions=False)
            )

        yield start


@pytest.fixture
def client(client_of):
    """A client as the page is one: it sends its origin."""
    client = client_of()
    client.headers["origin"] = "http://127.0.0.1:8400"
    return client
