"""Batches, the queue, timeouts, and what the metrics say of them."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from keras_cmm_server import ServerSettings
from keras_cmm_server.batcher import Batcher
from keras_cmm_server.request_error import RequestError
from keras_cmm_server.server_metrics import ServerMetrics


class SlowClassifier:
    """Waits in the model until it may go on, and notes the sizes of its batches."""

    def __init__(self, classifier):
        self._classifier = classifier
        self.go = threading.Event()
        self.entered = threading.Event()
        self.batches = []
        self.is_first = True

    def __getattr__(self, name):
        return getattr(self._classifier, name)

    def predict_pixels(self, pixels):
        if self.is_first:  # the server runs the model once before it is ready
            self.is_first = False
        else:
            self.entered.set()
            assert self.go.wait(30)
            self.batches.append(len(pixels))
        return self._classifier.predict_pixels(pixels)


@pytest.fixture
def slow(classifier):
    slow = SlowClassifier(classifier)
    yield slow
    slow.go.set()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(64) as pool:
        yield pool


def metric(client, name):
    lines = client.get("/metrics").text.splitlines()
    (value,) = [line.rpartition(" ")[2] for line in lines if line.startswith(name + " ")]
    return float(value)


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_requests_share_batches(client_of, slow, pool, picture):
    client = client_of(slow, ServerSettings(max_batch_size=8, max_delay=0))
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)] * 7
    first = pool.submit(client.post, "/predict", content=picture(colours[0]))
    assert slow.entered.wait(30)
    answers = [pool.submit(client.post, "/predict", content=picture(each)) for each in colours[1:]]
    until(lambda: metric(client, "keras_cmm_queue_images") == 21)
    # All of them are decoded.
    time.sleep(0.2)
    slow.go.set()
    names = [
        answer.result().json()["images"][0]["predictions"][0]["class"]
        for answer in [first, *answers]
    ]
    assert names == ["red", "green", "blue"] * 7  # each request has its own answer
    assert slow.batches[0] == 1
    assert max(slow.batches) == 8
    assert sum(slow.batches) == 21
    assert len(slow.batches) <= 5
    assert metric(client, "keras_cmm_queue_images") == 0
    assert metric(client, "keras_cmm_images_total") == 22  # with the first of the server
    assert metric(client, "keras_cmm_batch_images_sum") == 22
    assert metric(client, "keras_cmm_batch_images_count") == 1 + len(slow.batches)


def test_a_full_queue_refuses(client_of, slow, pool, picture):
    client = client_of(slow, ServerSettings(max_images=2, max_queue=3, max_batch_size=1))
    two = {"files": [("file", picture()), ("file", picture())]}
    waiting = pool.submit(client.post, "/predict", **two)
    until(lambda: metric(client, "keras_cmm_queue_images") == 2)
    refused = client.post("/predict", **two)
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "1"
    assert refused.json() == {"error": "the server is busy; try again later."}
    third = pool.submit(client.post, "/predict", content=picture())
    until(lambda: metric(client, "keras_cmm_queue_images") == 3)
    assert client.get("/v2/health/ready").status_code == 200
    slow.go.set()
    assert waiting.result().status_code == third.result().status_code == 200
    assert client.post("/predict", **two).status_code == 200
    assert metric(client, 'keras_cmm_refused_total{reason="queue"}') == 1


def test_bodies_that_hold_too_much_memory_are_refused(client_of, slow, pool, picture):
    size = len(picture())
    settings = ServerSettings(max_body_bytes=size + 1, max_pending_bytes=size + 10)
    client = client_of(slow, settings)
    waiting = pool.submit(client.post, "/predict", content=picture())
    assert slow.entered.wait(30)
    assert client.post("/predict", content=picture()).status_code == 429
    slow.go.set()
    assert waiting.result().status_code == 200
    assert client.post("/predict", content=picture()).status_code == 200


def test_a_slow_model_times_out(client_of, slow, picture):
    client = client_of(slow, ServerSettings(timeout=0.2))
    answer = client.post("/predict", content=picture())
    assert answer.status_code == 504
    assert "longer than 0.2 s" in answer.json()["error"]
    assert metric(client, "keras_cmm_queue_images") == 0
    slow.go.set()
    assert client.post("/predict", content=picture()).status_code == 200


def test_a_slow_body_times_out(address_of, classifier):
    import socket

    host, _, port = address_of(classifier, ServerSettings(timeout=0.3)).rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nbegin"
        connection.sendall(head)
        with connection.makefile("rb") as stream:
            answer = stream.read()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"error":"the body did not arrive within 0.3 s."' in answer


def test_a_client_that_goes_leaves_nothing_behind(address_of, slow, picture):
    import socket

    import httpx2

    address = address_of(slow)
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nbegin")
    slow.go.set()
    with httpx2.Client(base_url=f"http://{address}") as client:
        assert client.post("/predict", content=picture()).status_code == 200
        assert metric(client, "keras_cmm_queue_images") == 0


def test_a_model_that_fails(client_of, classifier, picture, caplog):
    class Failing(SlowClassifier):
        def predict_pixels(self, pixels):
            if self.is_first:
                return super().predict_pixels(pixels)
            raise RuntimeError("/secret/path/of/the/server")

    failing = Failing(classifier)
    client = client_of(failing, raise_server_exceptions=False)
    answer = client.post("/predict", content=picture())
    assert answer.status_code == 500
    assert answer.json() == {"error": "the server failed; its log says why."}
    # The next request is not hurt.
    assert client.get("/v2/health/ready").status_code == 200
    failing.predict_pixels = classifier.predict_pixels
    assert metric(client, "keras_cmm_queue_images") == 0


def test_metrics_have_a_bounded_number_of_series(client, picture):
    client.post("/predict", content=picture())
    for number in range(20):
        client.get(f"/{number}")
        client.request(f"METHOD{number}", "/predict")
        client.get(f"/v2/models/{number}")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    counted = [line for line in answer.text.splitlines() if "requests_total{" in line]
    assert 'method="POST",route="/predict",status="200"} 1.0' in answer.text
    assert 'route="/v2/models/{name}",status="404"} 20.0' in answer.text
    assert len(counted) == 4


def test_a_batch_waits_for_others_and_not_for_longer():
    async def main():
        sizes = []

        def predict(pixels):
            sizes.append(len(pixels))
            return pixels.mean((1, 2))

        batcher = Batcher(predict, 4, 10.0, ServerMetrics())
        batcher.start()
        # Four make a batch at once, though the delay is long.
        image = np.zeros((2, 2, 3), "uint8")
        await asyncio.wait_for(asyncio.gather(*[batcher.submit(image) for _ in range(4)]), 5)
        await batcher.stop()
        batcher = Batcher(predict, 4, 0.05, ServerMetrics())
        batcher.start()
        start = time.perf_counter()
        await asyncio.gather(*[batcher.submit(image) for _ in range(3)])
        seconds = time.perf_counter() - start
        await batcher.stop()
        return sizes, seconds

    sizes, seconds = asyncio.run(main())
    assert sizes == [4, 3]
    assert seconds >= 0.05


def test_a_request_that_was_given_up_takes_no_place():
    async def main():
        sizes = []
        go = threading.Event()

        def predict(pixels):
            sizes.append(len(pixels))
            assert go.wait(30)
            return pixels.mean((1, 2))

        batcher = Batcher(predict, 4, 0.0, ServerMetrics())
        batcher.start()
        image = np.zeros((2, 2, 3), "uint8")
        tasks = [asyncio.create_task(batcher.submit(image))]
        while not sizes:
            await asyncio.sleep(0.001)
        tasks += [asyncio.create_task(batcher.submit(image)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        go.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        await batcher.stop()
        with pytest.raises(RequestError, match="not running") as caught:
            await batcher.submit(image)
        assert caught.value.status == 503
        return sizes

    assert asyncio.run(main()) == [1, 2]
