"""What `keras-cmm benchmark` runs on: embeddings files, and data sets whose images it embeds.

Imported by the command alone, after Keras.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from keras_cmm.clip import CLIPModel, ImageEmbedder, TextEmbedder, build_prompts, load, logit_scale
from keras_cmm.clip.backbones import ModelDigest
from keras_cmm.data import Benchmark, EmbeddingSet, FewShotDraws, ImageSource
from keras_cmm.data.benchmarks import get_benchmark
from keras_cmm.evaluation import BenchmarkData, Run, ShiftedTestSet, make_task
from keras_cmm.methods import FewShotTask
from keras_cmm_cli.images import embed_images
from keras_cmm_cli.runs_folder import Record
from keras_cmm_cli.store import open_store
from keras_cmm_cli.terminal import Terminal, counted
from keras_cmm_runtime import InputError


class BenchmarkInput(BenchmarkData):
    """A data set with what tells its records from those of other data.

    Attributes:
        name: Data set, protocol and backbone, as records have them.
        shift_names: Names of `shifts`.
        digests: A digest of the data, for the data set and for each shift by name.
        has_given_draws: Whether files decide the draws, instead of seeds.
    """

    name: tuple[str, str, str]
    shift_names: tuple[str, ...] = ()
    digests: dict[str, str]
    has_given_draws: bool = False

    def identities(self, run: Run, base_to_new: bool) -> list[Record]:
        """Returns the identity of each record of a run, one for each test set."""
        marks = {"base_to_new": True} if base_to_new else {}
        if self.has_given_draws and run.shots:  # A zero-shot run draws nothing.
            marks["indices"] = True
        dataset, protocol, backbone = self.name
        where = {"protocol": protocol, "backbone": backbone}
        return [
            {"dataset": name, **where, **run._asdict(), **marks}
            for name in (dataset, *self.shift_names)
        ]

    def marks(self, record: Record) -> Record:
        """Returns what a record says of its data and, if the draw was given, of its draw."""
        draw = self.draw_digest(record["shots"], record["seed"])
        marks = {"data": self.digests[record["dataset"]]}
        return marks if draw is None else marks | {"indices": True, "draw": draw}

    def draw_digest(self, shots: int, seed: int) -> str | None:
        """Returns a digest of a given draw, or `None` if the seed decides the draw.

        Raises:
            InputError: If the draw cannot be used.
        """
        return None


class FileInput(BenchmarkInput):
    """An embeddings file."""

    def __init__(self, path: str, also: str | None = None) -> None:
        data = EmbeddingSet.read(path)
        try:
            super().__init__(data, label=path, also=also)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        data = self.embedding_set
        self.name = (data.dataset, data.protocol, data.backbone)
        self.digests = {data.dataset: data.digest(also)}


@dataclass(frozen=True)
class Embedding:
    """How the images of all data sets are embedded. CLIP is loaded when it is first needed."""

    terminal: Terminal
    preset: str
    batch_size: int | None
    store: Path | None

    @property
    def backbone(self) -> str:
        """The model's name in records."""
        is_folder = Path(self.preset).is_dir()
        return Path(self.preset).resolve().name if is_folder else self.preset

    @functools.cached_property
    def model(self) -> CLIPModel:
        """The model."""
        with self.terminal.status("loading CLIP"):
            return load(self.preset)

    @functools.cached_property
    def embedder(self) -> ImageEmbedder:
        """The embedder, with the store."""
        return ImageEmbedder(self.model, self.batch_size, store=open_store(self.store))

    @functools.cached_property
    def description(self) -> dict[str, Any]:
        """All that an embedding depends on besides the image, the precision and the backend."""
        preprocessing = vars(self.embedder.preprocessor)
        return {"preprocessing": preprocessing, **ModelDigest(self.model.backbone)()}

    def images(self, source: ImageSource) -> Any:
        """Returns embeddings, shape `(images, dim)`, and refuses an image that cannot be read."""
        # A test set without some of its images is another test set.
        return embed_images(self.terminal, self.embedder, source.images, strict=True).embeddings

    def texts(self, prompts: list[list[str]]) -> Any:
        """Returns the class prototypes, shape `(classes, dim)`."""
        return TextEmbedder(self.model).class_prototypes(prompts)


class DatasetInput(BenchmarkInput):
    """A benchmark data set. Only its test images and the images that are drawn are embedded.

    `shifts` are further test sets, for ImageNet. `where` has the arguments `protocol` and
    `data_dir` of `Benchmark.load`. `indices` is a folder of given draws, or `None`.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        shifts: tuple[Benchmark, ...],
        where: Mapping[str, Any],
        embedding: Embedding,
        indices: Path | None = None,
    ) -> None:
        self.label = benchmark.name
        self.name = (benchmark.name, where["protocol"], embedding.backbone)
        self.shift_names = tuple(shift.name for shift in shifts)
        self._embedding = embedding
        # List everything before embedding anything: a missing file must not show up hours later.
        splits: tuple[Any, ...] = benchmark.splits
        self._sources: dict[str, ImageSource] = {
            split: benchmark.load(split, **where) for split in splits
        }
        self._shifts = [
            (shift.name, shift.load("test", **where), shift.imagenet_classes(**where))
            for shift in shifts
        ]
        self._draws = FewShotDraws(
            self._sources["train"],
            self._sources.get("val"),
            None if indices is None else indices / benchmark.name,
        )
        self.has_given_draws = indices is not None
        self.largest_class = self._draws.largest_class
        class_names = self._sources["train"].class_names
        self._prompts = build_prompts(class_names, benchmark.prompt_template)
        images = {split: _listed(source) for split, source in self._sources.items()}
        own = _digest([embedding.description, class_names, self._prompts, images])
        self.digests = {benchmark.name: own} | {
            name: _digest([own, _listed(source), classes.tolist()])
            for name, source, classes in self._shifts
        }

    def draw_digest(self, shots: int, seed: int) -> str | None:
        """Returns a digest of a draw of `indices`, or `None` if the seed decides the draw."""
        if not self.has_given_draws or shots == 0:
            return None
        draws = self._draws.support(shots, seed), self._draws.validation(shots, seed)
        return _digest([draw.indices.tolist() for draw in draws])

    def prepare(self, draws: Iterable[tuple[int, int]]) -> None:
        """Embeds the test images and the images of these draws, or takes them from the store."""
        # An embedding set needs a train row, even if only a zero-shot run is missing.
        self._rows = self._draws.rows(list(draws) or [(1, 1)])
        sources, embedding = self._sources, self._embedding
        parts = {"train": sources["train"].take(self._rows[0]), "test": sources["test"]}
        if len(self._rows[1]):
            parts["val"] = sources["val"].take(self._rows[1])
        tensors: dict[str, Any] = {}
        for split, source in parts.items():
            embedding.terminal.note(
                f"{self.label}, {split}: {counted(len(source), 'image', 'images')}."
            )
            tensors[f"{split}_embeddings"] = embedding.images(source)
            tensors[f"{split}_labels"] = source.labels
        self.embedding_set = EmbeddingSet(
            **tensors,
            text_embeddings=embedding.texts(self._prompts),
            class_names=list(sources["train"].class_names),
            dataset=self.label,
            protocol=self.name[1],
            backbone=embedding.backbone,
            logit_scale=logit_scale(embedding.model.backbone),
        )
        self.shifts = tuple(
            ShiftedTestSet(name, embedding.images(source), source.labels, classes)
            for name, source, classes in self._shifts
        )

    def task(self, shots: int, seed: int) -> FewShotTask:
        """Returns the few-shot task of a draw that was prepared."""
        samples = self._draws.among(shots, seed, *self._rows) if shots else ()
        return make_task(self.embedding_set, shots, seed, *samples)


def open_files(
    terminal: Terminal, files: Sequence[str], also: str | None = None
) -> list[BenchmarkInput]:
    """Reads embeddings files, and reports those that cannot be used.

    `also` names the embeddings of a second encoder that they must have, or is `None`.
    """
    inputs: dict[tuple[str, ...], BenchmarkInput] = {}
    for file in files:
        try:
            data = FileInput(file, also)
        except InputError as error:
            terminal.error(str(error))
            continue
        if data.name in inputs:
            terminal.error(
                f"{file}: has the data set, protocol and backbone of {inputs[data.name].label} "
                f"({', '.join(data.name)}): their records could not be told apart; rename the "
                "file, or write another `dataset` into its metadata."
            )
            continue
        inputs[data.name] = data
    return list(inputs.values())


def open_datasets(
    embedding: Embedding,
    names: Sequence[str],
    where: Mapping[str, Any],
    indices: Path | None,
    shifted: bool,
) -> list[BenchmarkInput]:
    """Lists the images of benchmark data sets, and reports those that cannot be used.

    ImageNet is added if a shift is among `names`, and shifts are refused unless `shifted`. The
    other arguments are those of `DatasetInput`.
    """
    benchmarks = [get_benchmark(name) for name in names]
    shifts = tuple(each for each in benchmarks if each.splits == ("test",))
    if shifts and not shifted:
        raise click.UsageError("--base-to-new has no shifts; leave them out of --dataset.")
    trained = [each for each in benchmarks if each not in shifts]
    imagenet = get_benchmark("imagenet")
    if shifts and imagenet not in trained:
        embedding.terminal.note(
            "imagenet is run too: the shifts are scored by the classifiers that are trained on it."
        )
        trained.append(imagenet)
    inputs: list[BenchmarkInput] = []
    for each in trained:
        try:
            inputs.append(
                DatasetInput(each, shifts if each is imagenet else (), where, embedding, indices)
            )
        except InputError as error:
            embedding.terminal.error(str(error))
    return inputs


def _listed(source: ImageSource) -> list[Any]:
    return [source.keys(), source.labels.tolist()]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
