"""Compares `keras-cmm serve` with a bare ONNX Runtime loop, and times its answers.

The loop decodes 16 JPEG files and calls ONNX Runtime once, again and again, as a script would that
knows all its files. 64 clients send the same files to the server, each one file a request by
`POST /predict`, and wait for the answer before they send the next. Both sides decode by
`ImagePreprocessor`. The clients run on the same cores as the server, and their time counts against
it. The two sides run in turns, so that other work on the machine slows them alike, and the ratio is
the median over the turns. Nothing is downloaded: the weights are random. Run it with

    python tests/benchmarks/serving.py [--model MODEL] [--seconds 60] [--turns 6]

`--model` takes a model folder or ONNX file. Without it the image tower of ViT-B/32 is exported by
torch, which needs transformers and onnxscript. `--model tiny` is a model that does next to nothing,
which shows what HTTP costs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from keras_cmm_runtime import OnnxClassifier

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "server"))
from hostile_files import write_hostile_files

BATCH = 16
CLIENTS = 64
HOSTILE = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a model folder, an ONNX file, or `tiny`")
    parser.add_argument("--seconds", type=float, default=60, help="that the server is under load")
    parser.add_argument("--turns", type=int, default=6, help="turns of each side")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--load", help=argparse.SUPPRESS)  # the clients are a process of their own
    arguments = parser.parse_args()
    if arguments.load:
        print(json.dumps(asyncio.run(load(**json.loads(arguments.load)))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_model(folder, arguments.model)
        paths = make_images(folder / "images")
        compare(model, paths, arguments.seconds, arguments.turns, arguments.clients)


def compare(model: Path, paths: list[Path], seconds: float, turns: int, clients: int) -> None:
    classifier = OnnxClassifier.load(model)
    size = classifier.preprocessor.image_size
    print(
        f"{size} x {size} pixels, {os.cpu_count()} cores, {clients} clients, 500 x 375 JPEG files"
    )
    each = seconds / turns
    bare, served, latencies = [], [], []
    code = "from keras_cmm_cli.main import main; main()"
    # On a slow machine 64 clients may wait for longer than the 30 seconds of the default.
    options = ["serve", str(model), "--port", "0", "--timeout", "300"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *options], stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            url = server.stderr.readline().partition(" at ")[2].split(" ")[0]
            threading.Thread(target=server.stderr.read, daemon=True).start()
            run_load(url, paths, 2.0, clients)  # connections, caches
            run_bare(classifier, paths, 2.0)
            errors = 0
            for turn in range(turns):
                bare.append(run_bare(classifier, paths, each))
                found = run_load(url, paths, each, clients)
                served.append(found["images"] / found["seconds"])
                latencies += found["latencies"]
                errors += found["errors"]
                ratio = served[-1] / bare[-1]
                print(f"turn {turn + 1}: {bare[-1]:8.1f} {served[-1]:8.1f} images/s {ratio:6.2f} x")
            statuses = hostile_statuses(url)
        finally:
            server.terminate()
            server.wait()
    ratios = np.array(served) / np.array(bare)
    low, high = ratios.min(), ratios.max()
    p50, p99 = 1000 * np.percentile(latencies, (50, 99))
    refused = sum(400 <= status < 500 for status in statuses)
    print(f"bare loop, batches of {BATCH} {np.median(bare):8.1f} images/s")
    print(f"server                   {np.median(served):8.1f} images/s")
    print(f"server / bare loop       {np.median(ratios):8.2f} x ({low:.2f} to {high:.2f})")
    print(f"requests                 {len(latencies):8,}, errors: {errors}")
    print(f"time of a request        {p50:8.1f} ms (p50), {p99:.1f} ms (p99)")
    print(f"hostile uploads          {len(statuses):8}, answered with 4xx: {refused}")
    print(f"exit code of the server  {server.returncode:8}")


def run_bare(classifier: OnnxClassifier, paths: list[Path], seconds: float) -> float:
    """Returns images per second of the loop."""
    images, place, start = 0, 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        batch = [paths[(place + number) % len(paths)] for number in range(BATCH)]
        pixels = np.stack([classifier.preprocessor.pixels(path) for path in batch])
        classifier.probabilities(classifier.predict_pixels(pixels))
        images += BATCH
        place += BATCH
    return images / (time.perf_counter() - start)


def run_load(url: str, paths: list[Path], seconds: float, clients: int) -> dict:
    """Runs the clients in a process of their own; see `load`."""
    content = {"url": url, "paths": [*map(str, paths)], "seconds": seconds, "clients": clients}
    result = subprocess.run(
        [sys.executable, __file__, "--load", json.dumps(content)],
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(result.stdout)


async def load(url: str, paths: list[str], seconds: float, clients: int) -> dict:
    """Sends files for some seconds; returns the number of answers, errors, and their seconds."""
    import aiohttp  # comes with tritonclient[http]

    files = [Path(path).read_bytes() for path in paths]
    latencies: list[float] = []
    errors = 0
    headers = {"Content-Type": "image/jpeg"}
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(300)
    async with aiohttp.ClientSession(
        connector=connector, headers=headers, timeout=timeout
    ) as session:

        async def client(number: int) -> None:
            nonlocal errors
            while time.perf_counter() < end:
                before = time.perf_counter()
                data = files[number % len(files)]
                try:
                    async with session.post(f"{url}/predict", data=data) as answer:
                        content = await answer.json()
                        is_right = answer.status == 200 and len(content["images"]) == 1
                except (aiohttp.ClientError, OSError, ValueError, KeyError):
                    is_right = False
                if is_right:
                    latencies.append(time.perf_counter() - before)
                else:
                    errors += 1
                number += clients

        start = time.perf_counter()
        end = start + seconds
        await asyncio.gather(*[client(number) for number in range(clients)])
        passed = time.perf_counter() - start
    return {
        "images": len(latencies),
        "seconds": passed,
        "errors": errors,
        "latencies": latencies,
    }


def hostile_statuses(url: str) -> list[int]:
    """Sends damaged files; returns the statuses of the answers."""
    import httpx2

    with tempfile.TemporaryDirectory() as folder, httpx2.Client(timeout=60) as client:
        files = [
            path
            for path in write_hostile_files(folder)
            if path.is_file() and not path.is_symlink() and path.stat().st_size < 2**24
        ]
        chosen = files[:: len(files) // HOSTILE][:HOSTILE]
        return [
            client.post(f"{url}/predict", files={"file": path.read_bytes()}).status_code
            for path in chosen
        ]


def make_images(folder: Path, count: int = 64) -> list[Path]:
    """Makes blurred noise with some grain, which compresses to the size of a photo."""
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), "uint8"))
        smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), "float32")
        grain = rng.standard_normal(smooth.shape, "float32") * 12
        paths.append(folder / f"{number}.jpg")
        Image.fromarray((smooth + grain).clip(0, 255).astype("uint8")).save(paths[-1], quality=90)
    return paths


def make_model(folder: Path, given: str | None) -> Path:
    from tiny_onnx import write_tiny_onnx

    if given == "tiny":
        return write_tiny_onnx(folder / "tiny", size=224)
    return Path(given) if given else write_vit(folder / "vit_b_32")


def write_vit(folder: Path, classes: int = 100) -> Path:
    """Writes an ONNX classifier with the image tower of ViT-B/32 and random weights."""
    import onnx
    import torch
    from onnx import helper
    from tiny_onnx import metadata
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # The defaults are those of ViT-B/32.
            self.tower = CLIPVisionModelWithProjection(CLIPVisionConfig())
            self.head = torch.nn.Linear(512, classes, bias=False)

        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            values = pixels.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
            embeddings = self.tower(values).image_embeds
            embeddings = embeddings / embeddings.norm(dim=-1, keepdim=True)
            logits = self.head(embeddings)
            return logits, torch.softmax(logits, -1)

    folder.mkdir()
    path = folder / "classifier.onnx"
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        Classifier().eval(),
        (torch.zeros((2, 224, 224, 3), dtype=torch.uint8),),
        dynamo=True,
        verbose=False,
        input_names=["pixels"],
        output_names=["logits", "probabilities"],
        dynamic_shapes=({0: batch},),
    )
    model = program.model_proto
    names = [f"class {number}" for number in range(classes)]
    helper.set_model_props(model, {"keras_cmm": json.dumps(metadata(names, 224))})
    onnx.save(model, path)
    return path


if __name__ == "__main__":
    main()
