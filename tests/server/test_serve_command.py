"""`keras-cmm serve` as users run it: in processes of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import httpx2
import pytest
import tritonclient.http
from tiny_onnx import write_tiny_onnx

from keras_cmm_cli.main import cli

SECONDS = 60


class Served:
    """A running `keras-cmm serve`."""

    def __init__(self, arguments):
        code = "from keras_cmm_cli.main import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "serve", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        while not self.lines or not self.lines[-1].startswith("Serving "):
            line = self.process.stderr.readline()
            assert line, self.lines
            self.lines.append(line.strip())
        self.address = self.lines[-1].partition("http://")[2].split(" ")[0]
        self.client = httpx2.Client(base_url=f"http://{self.address}", timeout=SECONDS)

    def stop(self, number=signal.SIGTERM):
        """Ends it; returns its exit code and what it printed since."""
        self.process.send_signal(number)
        return self.ended()

    def close(self):
        """Kills it, and its workers with it, if it still runs."""
        self.client.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.stdout.close()
        self.process.stderr.close()

    def ended(self):
        output, errors = self.process.communicate(timeout=SECONDS)
        assert output == ""
        return self.process.returncode, errors


@pytest.fixture
def served(served_model):
    with contextlib.ExitStack() as stack:

        def start(*arguments, model=served_model):
            served = Served([model, "--port", "0", *arguments])
            stack.callback(served.close)
            return served

        yield start


def until_ready(served):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx2.TransportError):
            if served.client.get("/v2/health/ready").status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError("not ready")


def until_stopped(served):
    host, _, port = served.address.rpartition(":")
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except ConnectionError:
            return
        time.sleep(0.02)
    raise AssertionError("still takes connections")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_and_stops(served, picture, pixels, number):
    server = served("--name", "my colours")
    assert server.lines == [
        f"Serving my colours (3 classes) at http://{server.address} (Ctrl-C stops)"
    ]
    assert server.address.startswith("127.0.0.1:")
    assert server.client.post("/predict", content=picture()).json()["model"] == "my colours"
    with tritonclient.http.InferenceServerClient(server.address) as client:
        assert client.is_model_ready("my colours")
    code, errors = server.stop(number)
    assert (code, errors) == (0, "Stopped.\n")


def test_no_other_address_is_open(served):
    server = served()
    port = int(server.address.rpartition(":")[2])
    # All of 127.0.0.0/8 is this machine, but the server listens at one address of it.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)


def test_another_address_is_told_of(served):
    server = served("--host", "0.0.0.0")
    assert server.lines[0] == (
        "Warning: 0.0.0.0 is not loopback, so other machines can reach this server. It asks for no "
        "password and does not encrypt."
    )
    port = server.address.rpartition(":")[2]
    answer = httpx2.get(f"http://127.0.0.2:{port}/v2", headers={"Host": "any.example"})
    assert answer.status_code == 200


def test_what_is_in_work_is_finished_and_more_is_refused(served, picture):
    """A request whose body has not arrived yet is in work when the server is told to stop."""
    server = served()
    host, _, port = server.address.rpartition(":")
    body = picture()
    with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:10])
        server.client.get("/v2")  # so the server has read the first bytes
        server.process.send_signal(signal.SIGTERM)
        until_stopped(server)
        assert server.process.poll() is None
        connection.sendall(body[10:])
        with connection.makefile("rb") as stream:
            answer = stream.read()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b'"class":"red"' in answer
    assert server.ended() == (0, "Stopped.\n")


def test_the_grace_ends(served):
    server = served("--grace", 1)
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
        )
        server.client.get("/v2")
        start = time.monotonic()
        code, errors = server.stop()
        assert time.monotonic() - start < 20
    assert code == 0
    assert "timeout graceful shutdown exceeded" in errors


def test_workers_share_the_port_and_the_metrics(served, picture):
    server = served("--workers", 2)
    assert server.lines[-1].endswith("with 2 workers (Ctrl-C stops)")
    until_ready(server)
    for _ in range(20):
        # A new connection each time, which either worker may take.
        with httpx2.Client(base_url=server.client.base_url, timeout=SECONDS) as client:
            assert client.post("/predict", content=picture()).status_code == 200
    counted = 'keras_cmm_requests_total{method="POST",route="/predict",status="200"} 20.0'
    assert counted in server.client.get("/metrics").text
    assert "keras_cmm_queue_images 0.0" in server.client.get("/metrics").text
    code, errors = server.stop()
    assert code == 0, errors
    assert "Traceback" not in errors
    until_stopped(server)


def test_a_killed_worker_is_replaced(served, picture):
    server = served("--workers", 2)
    until_ready(server)
    children = subprocess.run(
        ["ps", "-ww", "--ppid", str(server.process.pid), "-o", "pid=,args="],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    workers = [int(line.split()[0]) for line in children if "spawn_main" in line]
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while True:
        with contextlib.suppress(httpx2.TransportError):
            if server.client.post("/predict", content=picture()).status_code == 200:
                break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert server.stop()[0] == 0


def test_it_logs_requests_only_if_asked(served):
    server = served("--log-requests")
    server.client.get("/v2/health/live")
    _, errors = server.stop()
    assert "GET /v2/health/live HTTP/1.1" in errors


def refusal(*arguments):
    from click.testing import CliRunner

    result = CliRunner().invoke(cli, ["serve", *map(str, arguments)])
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def test_what_cannot_be_served(served_model, tmp_path):
    assert "does not exist" in refusal(tmp_path / "none")
    assert str(tmp_path) in refusal(tmp_path)
    (tmp_path / "classifier.onnx").write_bytes(b"no model")
    assert "classifier.onnx" in refusal(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = refusal(served_model, "--port", port)
    assert f"cannot listen at 127.0.0.1 on port {port}" in line
    assert "give another `--port`" in line
    assert "no address of this machine" in refusal(served_model, "--host", "no such host.invalid")
    assert "`name`" in refusal(served_model, "--name", "a/b")
    assert "`max_images`" in refusal(served_model, "--max-queue", 3)
    for option in ("--workers", "--max-batch-size", "--timeout"):
        assert option in refusal(served_model, option, 0)


def test_a_missing_package_is_named(served_model, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "starlette" else real(name)
    )
    line = refusal(served_model)
    assert "starlette is not installed" in line
    assert "pip install 'keras-cmm[serve]'" in line


def test_the_name_is_that_of_the_folder(served, tmp_path, picture):
    model = write_tiny_onnx(tmp_path / "flowers")
    server = served(model=model / "classifier.onnx")
    assert server.client.get("/v2/models/flowers").json()["name"] == "flowers"


def test_the_server_imports_no_keras(served_model):
    code = (
        "import sys; from keras_cmm_server import create_app; from keras_cmm_runtime import "
        f"OnnxClassifier; create_app(OnnxClassifier.load({str(served_model)!r})); "
        "print(sorted({'keras', 'torch', 'tensorflow', 'keras_cmm', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"
