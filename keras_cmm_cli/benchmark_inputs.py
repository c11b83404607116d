"""What `keras-cmm benchmark` runs on: embeddings files, and data sets whose images it embeds."""

from __future__ import annotations

import functools
import hashlib
import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from keras_cmm_cli.images import embed_images
from keras_cmm_cli.store import open_store
from keras_cmm_cli.terminal import Terminal, counted

if TYPE_CHECKING:
    from keras_cmm.clip import CLIPModel, ImageEmbedder
    from keras_cmm.data import EmbeddingSet, ImageSource
    from keras_cmm.data.benchmarks.benchmark import Benchmark
    from keras_cmm.evaluation import ShiftedTestSet
    from keras_cmm.methods import FewShotTask

Draw = tuple[int, int]  # shots, seed


class BenchmarkInput(Protocol):
    """A data set to run methods on."""

    label: str
    """What to call it in messages."""
    name: tuple[str, str, str]
    """Data set, protocol and backbone, as records have them."""
    largest_class: int
    """Number of train images of the class that has most."""
    shift_names: tuple[str, ...]
    """Names of `shifts`."""
    embedding_set: EmbeddingSet
    shifts: tuple[ShiftedTestSet, ...]
    digests: dict[str, str]
    """For the data set and each shift by name, what tells it from other data of its name."""

    def draw_digest(self, shots: int, seed: int) -> str | None:
        """Returns what tells a given draw from others, or `None` where the seed decides it.

        Raises:
            InputError: If the draw cannot be used.
        """

    def prepare(self, draws: Iterable[Draw]) -> None:
        """Makes `embedding_set` and `shifts` ready for tasks of these shots and seeds."""

    def task(self, shots: int, seed: int) -> FewShotTask:
        """Returns the few-shot task."""


class FileInput:
    """An embeddings file."""

    shift_names: tuple[str, ...] = ()
    shifts: tuple[ShiftedTestSet, ...] = ()

    def __init__(self, path: str) -> None:
        import numpy as np

        from keras_cmm.data import EmbeddingSet

        self.label = path
        self.embedding_set = data = EmbeddingSet.read(path)
        self.name = (data.dataset, data.protocol, data.backbone)
        self.digests = {data.dataset: data.digest()}
        self.largest_class = int(np.bincount(data.train_labels).max())
        # All methods are run on a draw before the next: it is drawn, and warned of, once.
        self.task = functools.lru_cache(maxsize=1)(self._draw)

    def draw_digest(self, shots: int, seed: int) -> str | None:
        """Returns nothing: the seed decides every draw."""
        return None

    def prepare(self, draws: Iterable[Draw]) -> None:
        """Does nothing: the file has all."""

    def _draw(self, shots: int, seed: int) -> FewShotTask:
        from keras_cmm.evaluation import make_task

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            task = make_task(self.embedding_set, shots, seed)
        for warning in caught:
            warnings.warn(f"{self.label}: {warning.message}", warning.category, stacklevel=2)
        return task


@dataclass(frozen=True)
class Embedding:
    """How the images of all data sets are embedded; CLIP is loaded when it is first needed."""

    terminal: Terminal
    preset: str
    batch_size: int
    store: Path | None

    @property
    def backbone(self) -> str:
        """The model's name in records."""
        is_folder = Path(self.preset).is_dir()
        return Path(self.preset).resolve().name if is_folder else self.preset

    @functools.cached_property
    def model(self) -> CLIPModel:
        """The model."""
        from keras_cmm.clip import load

        with self.terminal.status("loading CLIP"):
            return load(self.preset)

    @functools.cached_property
    def embedder(self) -> ImageEmbedder:
        """The embedder, with the store."""
        from keras_cmm.clip import ImageEmbedder

        return ImageEmbedder(self.model, self.batch_size, store=open_store(self.store))

    @functools.cached_property
    def description(self) -> dict[str, Any]:
        """All that an embedding depends on besides the image, but for precision and backend."""
        from keras_cmm.clip.backbones.digest import ModelDigest

        preprocessing = vars(self.embedder.preprocessor)
        return {"preprocessing": preprocessing, **ModelDigest(self.model.backbone)()}

    def images(self, source: ImageSource) -> Any:
        """Returns embeddings, shape `(images, dim)`; an image that cannot be read is refused."""
        # A test set without some of its images is another test set.
        return embed_images(self.terminal, self.embedder, source.images, strict=True).embeddings

    def texts(self, prompts: list[list[str]]) -> Any:
        """Returns the class prototypes, shape `(classes, dim)`."""
        from keras_cmm.clip import TextEmbedder

        return TextEmbedder(self.model).class_prototypes(prompts)


class DatasetInput:
    """A benchmark data set, of which only what is drawn, and the test images, are embedded.

    Args:
        benchmark: The data set.
        shifts: Further test sets, for ImageNet.
        protocol: "coop" or "tfds".
        data_dir: Where the images are.
        embedding: How they are embedded.
        indices: A folder of other people's draws with a folder a data set, or `None`.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        shifts: tuple[Benchmark, ...],
        protocol: Any,
        data_dir: Path,
        embedding: Embedding,
        indices: Path | None = None,
    ) -> None:
        from keras_cmm.clip import build_prompts
        from keras_cmm.data import FewShotDraws

        self.label = benchmark.name
        self.name = (benchmark.name, protocol, embedding.backbone)
        self.shift_names = tuple(shift.name for shift in shifts)
        self._embedding = embedding
        # Before anything is embedded: hours later is no time to learn that a file is missing.
        splits: tuple[Any, ...] = benchmark.splits
        self._sources: dict[str, ImageSource] = {
            split: benchmark.load(split, protocol=protocol, data_dir=data_dir) for split in splits
        }
        self._shift_sources = [
            shift.load("test", protocol=protocol, data_dir=data_dir) for shift in shifts
        ]
        self._classes = [
            shift.imagenet_classes(protocol=protocol, data_dir=data_dir) for shift in shifts
        ]
        self._draws = FewShotDraws(
            self._sources["train"],
            self._sources.get("val"),
            None if indices is None else indices / benchmark.name,
        )
        self.largest_class = self._draws.largest_class
        class_names = self._sources["train"].class_names
        self._prompts = build_prompts(class_names, benchmark.prompt_template)
        images = {split: _listed(source) for split, source in self._sources.items()}
        own = _digest([embedding.description, class_names, self._prompts, images])
        self.digests = {benchmark.name: own}
        for name, source, classes in zip(
            self.shift_names, self._shift_sources, self._classes, strict=True
        ):
            self.digests[name] = _digest([own, _listed(source), classes.tolist()])

    def draw_digest(self, shots: int, seed: int) -> str | None:
        """Returns what tells a draw of `indices` from others, or `None` where there are none."""
        if self._draws.indices is None or shots == 0:
            return None
        draws = self._draws.support(shots, seed), self._draws.validation(shots, seed)
        return _digest([draw.indices.tolist() for draw in draws])

    def prepare(self, draws: Iterable[Draw]) -> None:
        """Embeds what these draws and the test need; what the store has is taken from it."""
        from keras_cmm.clip import logit_scale
        from keras_cmm.data import EmbeddingSet
        from keras_cmm.evaluation import ShiftedTestSet

        # An embedding set needs a train row, also if all that is missing is a zero-shot run.
        rows, val_rows = self._draws.rows(list(draws) or [(1, 1)])
        sources, embedding = self._sources, self._embedding
        parts = {"train": sources["train"].take(rows), "test": sources["test"]}
        if len(val_rows):
            parts["val"] = sources["val"].take(val_rows)
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
            for name, source, classes in zip(
                self.shift_names, self._shift_sources, self._classes, strict=True
            )
        )
        self._rows, self._val_rows = rows, val_rows

    def task(self, shots: int, seed: int) -> FewShotTask:
        """Returns the few-shot task of a draw that was prepared."""
        from keras_cmm.data.few_shot.few_shot_draws import within
        from keras_cmm.evaluation import make_task

        if shots == 0:
            return make_task(self.embedding_set, 0, seed)
        pool = self._val_rows if "val" in self._sources else self._rows
        return make_task(
            self.embedding_set,
            shots,
            seed,
            within(self._draws.support(shots, seed), self._rows),
            within(self._draws.validation(shots, seed), pool),
        )


def _listed(source: ImageSource) -> list[Any]:
    return [source.keys(), source.labels.tolist()]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
