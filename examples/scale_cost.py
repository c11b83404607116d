"""What embedding many images takes: reading, decoding, encoding, writing, and money.

    python examples/scale_cost.py --images 1e6,1e8,1e10 --gpu-price 2.0 --core-price 0.04

The model is a product of rates, because the parts of a run do not depend on each other. Every rate
is an option, and its help says where the default is from. Give your own, which
`tests/benchmarks/decoding.py`, `tests/benchmarks/scale.py` and `tests/benchmarks/gpu.py` measure.
"""

from __future__ import annotations

import click

HOUR, DAY = 3600, 86_400


class Numbers(click.ParamType):
    """Numbers, separated by commas."""

    name = "numbers"

    def convert(self, value, param, ctx):
        """Returns the numbers."""
        if not isinstance(value, str):
            return value
        try:
            numbers = [float(part) for part in value.split(",")]
        except ValueError:
            numbers = []
        if not numbers or min(numbers) < 1:
            self.fail(f"{value!r} is no list of numbers >= 1, such as 1e6,1e8.", param, ctx)
        return numbers


RATE = click.FloatRange(0, min_open=True)


@click.command()
@click.option("--images", type=Numbers(), default="1e6,1e8,1e10", show_default=True)
@click.option(
    "--gpu-rate",
    type=RATE,
    default=2500,
    show_default=True,
    help="Images/s of a GPU. Published for ViT-B/32 on an A100 (clip-retrieval, "
    "docs/distributed_clip_inference.md); there B/16 has 1100 and L/14 312.",
)
@click.option(
    "--core-rate",
    type=RATE,
    default=10.6,
    show_default=True,
    help="Images/s that one core decodes and encodes, if there is no GPU. Measured for ViT-B/32: "
    "88 ms to encode, and 7.0 ms to decode.",
)
@click.option(
    "--decode-rate",
    type=RATE,
    default=143,
    show_default=True,
    help="Images/s that one core decodes and resizes. Measured: 7.0 ms for 500 x 375.",
)
@click.option(
    "--image-kb", type=RATE, default=100, show_default=True, help="KB of an image file. Assumed."
)
@click.option(
    "--row-kb",
    type=RATE,
    default=1.01,
    show_default=True,
    help="KB of a row that is written. Measured for 512 dimensions.",
)
@click.option(
    "--part-rows", type=RATE, default=10_000, show_default=True, help="Images of a tar file."
)
@click.option("--gpus", type=RATE, default=8, show_default=True)
@click.option("--gpu-price", type=RATE, default=2.0, show_default=True, help="Money/h. Assumed.")
@click.option("--core-price", type=RATE, default=0.04, show_default=True, help="Money/h. Assumed.")
def main(
    images: list[float],
    gpu_rate: float,
    core_rate: float,
    decode_rate: float,
    image_kb: float,
    row_kb: float,
    part_rows: float,
    gpus: float,
    gpu_price: float,
    core_price: float,
) -> None:
    """Print what embedding takes on GPUs with cores that decode, and on cores alone."""
    cores = gpu_rate / decode_rate
    gpu_seconds, core_seconds = 1 / gpu_rate, 1 / core_rate
    click.echo(f"A GPU needs {cores:.0f} cores that decode for it, and reads ", nl=False)
    click.echo(f"{gpu_rate * image_kb / 1000:.0f} MB/s, writes {gpu_rate * row_kb / 1000:.1f} MB/s")
    money_gpu = 1e6 * gpu_seconds / HOUR * (gpu_price + cores * core_price)
    money_cores = 1e6 * core_seconds / HOUR * core_price
    click.echo(f"A million images: {money_gpu:.2f} on GPUs, {money_cores:.2f} on cores alone\n")
    rows = [
        ("read, TB", lambda n: n * image_kb / 1e9),
        ("written, TB", lambda n: n * row_kb / 1e9),
        ("parts", lambda n: n / part_rows),
        ("GPU hours", lambda n: n * gpu_seconds / HOUR),
        (f"days on {gpus:g} GPUs", lambda n: n * gpu_seconds / DAY / gpus),
        ("core hours, without a GPU", lambda n: n * core_seconds / HOUR),
        ("days on 1,000 cores", lambda n: n * core_seconds / DAY / 1000),
    ]
    click.echo(f"{'images':26}" + "".join(f"{n:>16,.0f}" for n in images))
    for name, value in rows:
        numbers = (f"{value(n):,.0f}" if value(n) >= 100 else f"{value(n):.2g}" for n in images)
        click.echo(f"{name:26}" + "".join(f"{number:>16}" for number in numbers))


if __name__ == "__main__":
    main()
