"""A classifier that was exported to ONNX, on ONNX Runtime."""

from __future__ import annotations

import itertools
import json
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.hub import fetch_model, is_hub_handle
from keras_cmm_runtime.images import ImagePreprocessor, is_one_image
from keras_cmm_runtime.unknowns import HeldOutScores, named_classes
from keras_cmm_runtime.utils import (
    check_file_of,
    file_digest,
    items,
    refuse_special_file,
)
from keras_cmm_runtime.utils.check_number import check_int, check_number

ONNX_FILE = "classifier.onnx"
ONNX_FORMAT = "keras-cmm-onnx/1"

_Pixels = npt.NDArray[np.uint8]


class OnnxClassifier:
    """Classifies images with a file of `CMMImageClassifier.export`, without Keras.

    It needs ONNX Runtime, numpy and Pillow. Images are read and preprocessed by the code that
    training runs, so the pixels have the same bits. The rest of the preprocessing, CLIP's image
    tower and the head are in the file.

    All methods may be called from several threads at a time.

    Args:
        path: the file.
        threads: int, or `None` for as many as there are cores. Threads of one call of ONNX Runtime.

    Raises:
        InputError: if the file is missing, is damaged or is none of this package.

    Example:
        >>> classifier = OnnxClassifier.load("my_model")  # doctest: +SKIP
        >>> classifier.classify(["new.jpg"], top_k=1)  # doctest: +SKIP
        [[('dog', 0.98)]]

    References:
        - [ONNX](https://onnx.ai) and [ONNX Runtime](https://onnxruntime.ai).
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None) -> None:
        self._path = Path(path)
        if threads is not None:
            check_int("threads", threads, 1)
        if not self._path.exists():
            raise InputError(f"{self._path}: does not exist; give a file of `keras-cmm export`.")
        refuse_special_file(self._path)
        self.digest = file_digest(self._path)
        """SHA-256 of the file, in hexadecimal."""
        self._session = _open_session(self._path, threads)
        description = _read_description(self._path, self._session)
        self.class_names: list[str] = description["class_names"]
        """The names of the classes, in the order of the logits."""
        self.temperature: float = description["temperature"]
        """What the logits are divided by before the softmax."""
        self.preprocessor: ImagePreprocessor = description["preprocessor"]
        """The preprocessor of the images. The file itself normalises the pixels."""
        self.held_out_scores: HeldOutScores | None = description["held_out"]
        """How sure the classifier is of images that it was not trained on, if that is known."""
        self.model_digest: str = description["digest"]
        """SHA-256 of the graph and the weights that were exported."""

    @classmethod
    def load(cls, path: str | os.PathLike[str], threads: int | None = None) -> Self:
        """Loads a classifier.

        Args:
            path: a folder of `keras-cmm fit`, an ONNX file of `keras-cmm export`, or
                `hf://owner/name` for a model on the Hugging Face hub, which is fetched.
            threads: as of the class.

        Returns:
            The classifier.

        Raises:
            InputError: if there is none, if it is damaged, or if it is of another model than the
                folder.
        """
        path = fetch_model(os.fspath(path), whole=False) if is_hub_handle(path) else Path(path)
        if not path.is_dir():
            return cls(path, threads)
        if not (path / ONNX_FILE).is_file():
            if _has_second_encoder(path):
                raise InputError(
                    f"{path}: has no {ONNX_FILE}, because it has a second encoder and such a file "
                    "holds one; run the model by Keras."
                )
            raise InputError(
                f"{path}: has no {ONNX_FILE}; make it by `keras-cmm export {path} --format onnx "
                f"--output {path / ONNX_FILE}`."
            )
        classifier = cls(path / ONNX_FILE, threads)
        check_file_of(path, ONNX_FILE, classifier.digest)
        return classifier

    def predict_pixels(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Returns the logits of preprocessed images, in one call of ONNX Runtime.

        Args:
            pixels: uint8 `(batch, image_size, image_size, 3)`, each as `preprocessor.pixels` makes
                it.

        Returns:
            float32 array of shape `(batch, classes)`.

        Raises:
            InputError: if the pixels have another shape or dtype, or the logits are not finite.
        """
        size = self.preprocessor.image_size
        pixels = np.asarray(pixels)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (size, size, 3):
            raise InputError(
                f"`pixels` must be a uint8 array of shape (batch, {size}, {size}, 3). "
                f"Received: {pixels.dtype} of shape {pixels.shape}"
            )
        if not len(pixels):
            return np.empty((0, len(self.class_names)), dtype="float32")
        logits: npt.NDArray[np.float32] = self._session.run(["logits"], {"pixels": pixels})[0]
        if not np.isfinite(logits).all():
            raise InputError(
                f"{self._path}: gives numbers that are not finite, so it cannot answer. Its "
                "weights are damaged; export the classifier again."
            )
        return logits

    def probabilities(self, logits: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Returns the probabilities of the classes, `softmax(logits / temperature)`.

        Args:
            logits: `(batch, classes)`, as `predict` returns them.

        Returns:
            float32 array of the same shape; each row sums to 1.
        """
        scaled = np.asarray(logits, dtype="float32") / np.float32(self.temperature)
        powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True, initial=-np.inf))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype="float32")

    def predict(self, images: Iterable[Any], batch_size: int = 16) -> npt.NDArray[np.float32]:
        """Returns the logits of images.

        Args:
            images: an iterable of what `keras_cmm_runtime.images.read_image` takes: paths, PIL
                images, arrays.
            batch_size: int. Images a call of ONNX Runtime.

        Returns:
            float32 array of shape `(images, classes)`.

        Raises:
            InputError: if an image cannot be read, or `images` is a single one.
        """
        return self.predict_readable(images, batch_size)[0]

    def predict_readable(
        self,
        images: Iterable[Any],
        batch_size: int = 16,
        on_error: Literal["raise", "skip"] = "raise",
        progress: Callable[[int, int | None], None] | None = None,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Returns the logits of the images that can be read, and the numbers of these.

        Threads read the images while ONNX Runtime computes. Only a few batches are held at a time.

        Args:
            images: as in `predict`.
            batch_size: as in `predict`.
            on_error: what to do about an image that cannot be read: `"raise"` an error, or `"skip"`
                the image with a warning that names it.
            progress: called with the number of images done, and the number of all images or `None`
                if it is not known.

        Returns:
            float32 array of shape `(images, classes)`, and int64 array of shape `(images,)`.

        Raises:
            InputError: as `predict`.
        """
        check_int("batch_size", batch_size, 1)
        if on_error not in ("raise", "skip"):
            raise ValueError(f'`on_error` must be "raise" or "skip". Received: {on_error=}')
        if is_one_image(images):
            raise InputError(
                "`images` must be a list or a batch of images, such as `[image]` for one. "
                "Received: a single image"
            )
        total = len(images) if isinstance(images, Sized) else None
        logits, numbers, done = [np.empty((0, len(self.class_names)), "float32")], [], 0

        def readable() -> Iterator[tuple[int, _Pixels]]:
            nonlocal done
            for done, found in enumerate(self._read_ahead(images, batch_size), start=1):
                if not isinstance(found, InputError):
                    yield done - 1, found
                elif on_error == "raise":
                    raise found
                else:
                    warnings.warn(f"left out: {found}", stacklevel=2)

        source = readable()
        while batch := list(itertools.islice(source, batch_size)):
            logits.append(self.predict_pixels(np.stack([pixels for _, pixels in batch])))
            numbers += [number for number, _ in batch]
            if progress:
                progress(done, total)
        return np.concatenate(logits), np.array(numbers, dtype="int64")

    def classify(
        self,
        images: Iterable[Any],
        top_k: int = 5,
        batch_size: int = 16,
        reject: float | None = None,
    ) -> list[list[tuple[str, float]]]:
        """Names the most probable classes of images.

        Args:
            images: as in `predict`.
            top_k: int, at least 1. How many classes.
            batch_size: as in `predict`.
            reject: float in (0, 1) or `None`. An image is "unknown" if the classifier is less sure
                of it than of all but this part of held-out training images.

        Returns:
            For each image its `(class name, probability)` pairs, the most probable first. An
            unknown image has one pair: "unknown" and what its most probable class lacks to 1.

        Raises:
            InputError: as `predict`, if `top_k` is no int >= 1, if `reject` is out of range, or if
                too few images were held out for it.
        """
        check_int("top_k", top_k, 1)
        return self.named(self.predict(images, batch_size), top_k, reject)

    def predict_sets(
        self, images: Iterable[Any], coverage: float = 0.9, batch_size: int = 16
    ) -> list[list[tuple[str, float]]]:
        """Names for each image the classes that hold its own with probability `coverage`.

        The sets are conformal, see `keras_cmm_runtime.unknowns.HeldOutScores`.

        Args:
            images: as in `predict`.
            coverage: float in (0, 1).
            batch_size: as in `predict`.

        Returns:
            For each image its `(class name, probability)` pairs, one or more, the most probable
            first.

        Raises:
            InputError: as `predict`, if `coverage` is out of range, or if too few images were held
                out for it.
        """
        return self.named(self.predict(images, batch_size), coverage=coverage)

    def named(
        self,
        logits: npt.ArrayLike,
        top_k: int = 5,
        reject: float | None = None,
        coverage: float | None = None,
    ) -> list[list[tuple[str, float]]]:
        """Names the classes of `(batch, classes)` logits, as `classify` and `predict_sets` do."""
        probabilities = self.probabilities(logits)
        scores = self.held_out_scores
        return named_classes(self.class_names, probabilities, top_k, scores, reject, coverage)

    def _read_ahead(self, images: Iterable[Any], batch_size: int) -> Iterator[_Pixels | InputError]:
        """Yields the pixels of images in their order, or the error of one that cannot be read."""
        source = items(images)
        waiting: deque[Future[_Pixels | InputError]] = deque()
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            while True:
                for image in itertools.islice(source, 2 * batch_size - len(waiting)):
                    waiting.append(pool.submit(self._read, image))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, image: Any) -> _Pixels | InputError:
        try:
            return self.preprocessor.pixels(image)
        except InputError as error:
            return error


def _has_second_encoder(folder: Path) -> bool:
    """Whether a folder holds a classifier of Keras with two encoders."""
    path = folder / "task.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return content["config"]["also"] is not None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _open_session(path: Path, threads: int | None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # What it logs is in its errors too.
    if threads is not None:
        options.intra_op_num_threads = threads
    model: str | bytes = os.fspath(path)
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:  # ONNX Runtime takes no such path.
        model = path.read_bytes()
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except MemoryError:
        raise
    # ONNX Runtime has a class of errors for each way in which a file can be wrong.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
        raise InputError(
            f"{path}: cannot be loaded by ONNX Runtime {onnxruntime.__version__} ({reason}); copy "
            "it anew, or export the classifier again."
        ) from error


def _read_description(path: Path, session: Any) -> dict[str, Any]:
    """Returns what the metadata of a file say, checked."""
    text = session.get_modelmeta().custom_metadata_map.get("keras_cmm")
    if text is None:
        raise InputError(
            f"{path}: is no classifier of keras-cmm; export one by `keras-cmm export`."
        )
    try:
        description = json.loads(text)
        if description["format"] != ONNX_FORMAT:
            raise InputError(
                f"{path}: has the format {description['format']!r}; this version of keras-cmm "
                f"reads {ONNX_FORMAT!r}. Export the classifier again, or install another version."
            )
        if description["part"] != "model":
            raise InputError(
                f"{path}: takes embeddings, not images; export the whole classifier, without "
                "--part head."
            )
        names = description["class_names"]
        preprocessor = ImagePreprocessor(**description["preprocessing"])
        scores = _held_out_scores(description.get("held_out"))
        check_number("temperature", description["temperature"], "> 0")
        size = preprocessor.image_size
        shapes = {each.name: each.shape[1:] for each in session.get_inputs()}
        outputs = {each.name: each.shape[1:] for each in session.get_outputs()}
        is_whole = (
            isinstance(names, list)
            and all(isinstance(name, str) for name in names)
            and shapes == {"pixels": [size, size, 3]}
            and outputs == {"logits": [len(names)], "probabilities": [len(names)]}
            and isinstance(description["digest"], str)
        )
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError):
        is_whole = False
    if not is_whole:
        raise InputError(f"{path}: its metadata are damaged; export the classifier again.")
    return {**description, "preprocessor": preprocessor, "held_out": scores}


def _held_out_scores(lists: Any) -> HeldOutScores | None:
    try:
        return None if lists is None else HeldOutScores(**lists)
    except InputError as error:  # The caller tells of the file.
        raise ValueError(error) from None
