"""Measures the peak memory of embedding images, with and without a store.

    python tests/benchmarks/store_memory.py [--images 20000 200000] [--folder DIR]

Each number of images is embedded in its own process, by an encoder that costs nothing. The images
are made one by one. The memory of the embeddings is printed separately and not counted.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.memory import peak_memory_mib


def measure(pipe, count, folder, dim, parts):
    """Sends the growth of memory in MiB beyond the embeddings, and the seconds."""
    import store_worker

    store_worker.DIM = dim
    store = None if folder is None else store_worker.EmbeddingStore(folder)
    embedder = store_worker.StubEmbedder(store, image_size=32)
    embedder.batch_size = 32
    # The memory that the first batches allocate does not depend on the number of images.
    embedder.embed(store_worker.generated_images(64, 32))
    before, start = peak_memory_mib(), time.perf_counter()
    images = store_worker.generated_images(count, 32)
    if parts:
        rows = sum(len(part.rows) for part in embedder.embed_parts(images))
        output = 0.0
    else:
        embeddings, kept = embedder.embed(images)
        rows, output = len(kept), (embeddings.nbytes + kept.nbytes) / (1 << 20)
    assert rows == count
    pipe.send((peak_memory_mib() - before - output, output, time.perf_counter() - start))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--dim", type=int, default=192)
    parser.add_argument("--folder", type=Path, help="where the stores are made")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name in ("no store", "new store", "full store", "full store, part by part"):
            for count in arguments.images:
                receiver, sender = context.Pipe(duplex=False)
                store = None if name == "no store" else Path(folder, str(count))
                process = context.Process(
                    target=measure,
                    args=(sender, count, store, arguments.dim, "part" in name),
                )
                process.start()
                sender.close()
                growth, output, seconds = receiver.recv()
                process.join()
                print(
                    f"{name:26} {count:9,} images {growth:8.1f} MiB beside {output:6.1f} MiB of "
                    f"embeddings {seconds:8.1f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
