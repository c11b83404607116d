"""Parts from and to an S3 API on loopback, also when it fails."""

import functools
import http.client
import http.server
import io
import random
import threading
import urllib.parse

import pytest
from PIL import Image
from stub_shard_model import MakeStubWorker

from keras_cmm_runtime.scale import EngineOptions, Storage, find_shards, run_workers

PICTURES = 30


@pytest.fixture(scope="module")
def server():
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    running = moto.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


class Faults(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the store, but some get 503, half an answer, or none."""

    protocol_version = "HTTP/1.1"

    def handle_any(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        fault = self.server.generator.choices(
            ["none", "503", "cut", "closed"], [1 - 3 * self.server.rate, *[self.server.rate] * 3]
        )[0]
        self.server.faults[fault] = self.server.faults.get(fault, 0) + 1
        if fault == "503":
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault == "closed":
            self.close_connection = True
            self.connection.close()
            return
        address = urllib.parse.urlparse(self.server.store)
        connection = http.client.HTTPConnection(address.hostname, address.port)
        # The signature is of the host that the client knows.
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        size = answer.getheader("Content-Length") if self.command == "HEAD" else len(data)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if fault == "cut" and len(data) > 1:
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

    def log_message(self, *args):
        pass


@pytest.fixture
def faulty(server):
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Faults)
    proxy.store, proxy.rate, proxy.faults = server, 0.0, {}
    proxy.generator = random.Random(1)
    proxy.daemon_threads = True
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    yield proxy
    proxy.shutdown()
    proxy.server_close()


def options_of(url):
    return {
        "key": "key",
        "secret": "secret",
        "client_kwargs": {"endpoint_url": url, "region_name": "eu-west-1"},
        "config_kwargs": {"retries": {"max_attempts": 1}, "connect_timeout": 5, "read_timeout": 5},
        "skip_instance_cache": True,
    }


@pytest.fixture
def bucket(server, request):
    name = f"bucket-{abs(hash(request.node.name)) % 10**9}"
    storage = Storage(f"s3://{name}", options_of(server))
    storage._fs.mkdir(name)
    for number in range(PICTURES):
        file = io.BytesIO()
        Image.new("RGB", (8, 8), (8 * number, 0, 0)).save(file, "PNG")
        storage.write(f"photos/{'cat' if number % 2 else 'dog'}/{number:02}.png", file.getvalue())
    return name


def embedded(bucket, url):
    source = Storage(f"s3://{bucket}/photos", options_of(url))
    output = Storage(f"s3://{bucket}/output{len(url)}", options_of(url))
    worker = MakeStubWorker(output)()
    return output, [worker(shard) for shard in find_shards(source, 5)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_from_and_to_a_store(bucket, server):
    output, results = embedded(bucket, server)
    assert [result.failure for result in results] == [None] * len(results)
    assert sum(result.rows for result in results) == PICTURES
    assert len(output.entries("shards")[1]) == len(results) == 6
    again = embedded(bucket, server)[1]
    assert not any(result.is_new for result in again)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_store_that_fails_loses_nothing(bucket, server, faulty, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    expected, _ = embedded(bucket, server)
    expected = {name: expected.read(f"shards/{name}") for name in expected.entries("shards")[1]}
    url = f"http://127.0.0.1:{faulty.server_address[1]}"
    source = functools.partial(find_shards, Storage(f"s3://{bucket}/photos", options_of(url)), 5)
    output = Storage(f"s3://{bucket}/other", options_of(url))
    shards = list(source())
    faulty.rate = 0.05
    worker = MakeStubWorker(output)()
    results = {}
    for _ in range(5):
        for shard in shards:
            if shard.name not in results or results[shard.name].failure:
                results[shard.name] = worker(shard)
    assert {result.failure for result in results.values()} == {None}
    assert all(faulty.faults[kind] for kind in ("503", "cut", "closed"))
    faulty.rate = 0.0
    found = {name: output.read(f"shards/{name}") for name in output.entries("shards")[1]}
    assert found == expected


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_processes_open_the_store_themselves(bucket, server):
    source = Storage(f"s3://{bucket}/photos", options_of(server))
    output = Storage(f"s3://{bucket}/processes", options_of(server))
    report = run_workers(
        EngineOptions(num_workers=1),
        functools.partial(find_shards, source, 10),
        MakeStubWorker(output),
    )
    assert (report.rows, report.failed) == (PICTURES, {})
