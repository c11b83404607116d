"""What the studio computes: embeddings, answers, training and tests."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.unknowns import HeldOutScores
from keras_cmm_studio.cross_validation import CrossValidation, cross_validate
from keras_cmm_studio.heat_picture import heat_picture
from keras_cmm_studio.named_bytes import NamedBytes
from keras_cmm_studio.none_of_these import reject_rate
from keras_cmm_studio.project import Project, fingerprint
from keras_cmm_studio.project_state import ProjectState
from keras_cmm_studio.trained_classifier import TrainedClassifier

if TYPE_CHECKING:
    from keras_cmm.models import CMMImageClassifier
    from keras_cmm_studio.studio_model import StudioModel

Write = Callable[[Path, TrainedClassifier], None]
"""Writes a classifier as a model folder, whole or not at all."""

MODEL = "model"
"""The folder of the saved model, in that of the project."""

_BATCH = 16
_NOT_READY = "CLIP is still loading; try again in a moment."


class Engine:
    """Runs CLIP and trains classifiers for a project, in a thread of its own.

    CLIP is loaded once. Images are embedded as soon as they are in the project, and training comes
    after. Questions about pictures are answered between these, in the thread that asks.

    Args:
        project: The project.
        load: Loads CLIP: the preset to a `StudioModel`.
        preset: What CLIP is loaded from.
        write: How a model folder is written.
    """

    def __init__(
        self,
        project: Project,
        load: Callable[[], StudioModel],
        preset: str,
        write: Write,
    ) -> None:
        self.project = project
        self.preset = preset
        self._load = load
        self._write = write
        # Held while Keras works, by whichever thread. The other guards what the threads share.
        self._keras = threading.Lock()
        self._news = threading.Condition()
        self._model: StudioModel | None = None
        self._rows: dict[str, npt.NDArray[np.float32]] = {}
        self._unread: dict[str, str] = {}
        self._classifier: CMMImageClassifier | None = None
        self._trained: TrainedClassifier | None = None
        self._test: tuple[CrossValidation, list[str], ProjectState] | None = None
        self._untrained: CMMImageClassifier | None = None
        self._wanted: set[str] = set()
        self._status: dict[str, dict[str, Any]] = {
            "clip": {"state": "loading", "message": ""},
            "training": {"state": "idle", "part": 0.0, "message": ""},
            "saving": {"state": "idle", "message": ""},
        }
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="studio engine", daemon=True)

    def start(self) -> None:
        """Begins to load CLIP."""
        if self.project.options.get("trained"):
            # The head is not on the disk: the images are, and seconds bring it back.
            with contextlib.suppress(InputError):  # its images were removed
                self.ask("train")
        self._thread.start()

    def stop(self) -> None:
        """Ends after what is being computed, but waits a few seconds at most.

        What is cut off leaves nothing half done: a model is written whole or not at all.
        """
        with self._news:
            self._stopped = True
            self._news.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def wake(self) -> None:
        """Tells that the project has changed."""
        with self._news:
            self._news.notify_all()

    def ask(self, job: str) -> None:
        """Asks for `"train"` or `"save"`.

        Raises:
            InputError: If that is not possible now; the message says what is missing.
        """
        if job == "train":
            _check_trainable(self.project.state)
        elif self._trained is None:
            raise InputError("there is nothing to save yet; train first.")
        with self._news:
            self._wanted.add(job)
            name = "training" if job == "train" else "saving"
            self._status[name] = {"state": "waiting", "part": 0.0, "message": ""}
            self._news.notify_all()

    def status(self) -> dict[str, Any]:
        """Returns what is being done and what was found, as JSON can hold it."""
        state = self.project.state
        with self._news:
            status: dict[str, Any] = {name: dict(part) for name, part in self._status.items()}
            done = sum(name in self._rows for name in state.images)
            trained, classifier = self._trained, self._classifier
            unread = dict(self._unread)
        status["embedded"] = {"done": done, "total": len(state.images), "unread": unread}
        status["trained"] = None
        if classifier is not None:
            status["trained"] = {
                "class_names": list(classifier.class_names),
                "images": None if trained is None else len(trained.images),
                "is_current": trained is not None and trained.fingerprint == fingerprint(state),
                "is_saved": trained is not None
                and self.project.options.get("saved") == trained.fingerprint,
                "reject": _reject_report(classifier.head.held_out_scores),
            }
        status["test"] = self._test_report(state)
        return status

    def classify(self, name: str, data: bytes, top_k: int) -> dict[str, Any]:
        """Answers what a picture shows.

        Args:
            name: The name of its file, for messages.
            data: The file.
            top_k: How many classes to name.

        Returns:
            `predictions`; `is_trained`, whether they are those of a trained classifier; and
            `is_unknown`, whether it is less sure of the picture than of nearly all held-out images,
            or `None` if it does not know how sure it is of those.

        Raises:
            InputError: If CLIP is not loaded, there are no two classes, or the image cannot be
                read.
        """
        model = self._ready()
        with self._keras:
            row = model.embed_picture(NamedBytes(name, data))[None]
            names, probabilities, classifier = self._probabilities(model, row)
        scores = None if classifier is None else classifier.head.held_out_scores
        is_unknown = None
        if scores is not None:
            is_unknown = bool(scores.is_unknown(probabilities, reject_rate(scores))[0])
        best = np.argsort(-probabilities[0], kind="stable")[:top_k].tolist()
        answers = [{"class": names[each], "probability": float(probabilities[0, each])}
                   for each in best]  # fmt: skip
        return {
            "predictions": answers,
            "is_trained": classifier is not None,
            "is_unknown": is_unknown,
        }

    def explain(self, name: str, data: bytes, class_name: str | None) -> dict[str, Any]:
        """Explains what a classifier says about a picture.

        Returns:
            `heat_map`, a `data:` address or `None`; `reason`, why there is none; and what
            `Explanation.as_dict` has.

        Raises:
            InputError: As `classify`.
        """
        model = self._ready()
        image = NamedBytes(name, data)
        with self._keras:
            classifier = self._classifier or self._zero_shot_classifier(model)
            reason = None
            try:
                explanation = classifier.explain(image, class_name, nearest=3)
            except InputError as error:  # such as of a ResNet, which has no patches
                reason = str(error)
                explanation = classifier.explain(image, class_name, nearest=3, heat_map=False)
        # The head of an untrained classifier is sharper than CLIP, whose probabilities are shown.
        facts = {key: value for key, value in explanation.as_dict().items() if key != "probability"}
        return {**facts, "heat_map": heat_picture(explanation), "reason": reason}

    def suggestions(self, most: int) -> dict[str, Any]:
        """Returns which unlabelled images to label next, with what they seem to show.

        Raises:
            InputError: If CLIP is not loaded, or there are no two classes.
        """
        model = self._ready()
        state = self.project.state
        images = [image.name for image in state.images_of(None) if image.name in self._rows]
        if not images:
            return {"rule": None, "images": []}
        rows = np.stack([self._rows[name] for name in images])
        with self._keras:
            names, probabilities, classifier = self._probabilities(model, rows)
        from keras_cmm.labelling import suggest

        order = suggest(rows, probabilities, most, **self._labelled(state, names)).tolist()
        ids = {each.name: each.id for each in state.classes}
        found = []
        for row in order:
            best = int(probabilities[row].argmax())
            found.append(
                {
                    "image": images[row],
                    "class_id": ids.get(names[best]),
                    "class": names[best],
                    "probability": float(probabilities[row, best]),
                }
            )
        return {"rule": "class" if classifier is None else "cover", "images": found}

    def _labelled(self, state: ProjectState, names: Sequence[str]) -> dict[str, Any]:
        """Returns the labelled images of some classes, as arguments of `suggest`."""
        numbers = {name: number for number, name in enumerate(names)}
        known = [
            (self._rows[image.name], numbers[each.name])
            for each in state.classes
            if each.name in numbers
            for image in state.images_of(each.id)
            if image.name in self._rows
        ]
        if not known:
            return {}
        rows, labels = zip(*known, strict=True)
        return {"labelled": np.stack(rows), "labels": np.array(labels)}

    def _ready(self) -> StudioModel:
        if self._model is None:
            raise InputError(self._status["clip"]["message"] or _NOT_READY)
        if self._classifier is None and len(self.project.state.classes) < 2:
            raise InputError("there must be two classes or more; name them first.")
        return self._model

    def _probabilities(
        self, model: StudioModel, rows: npt.NDArray[np.float32]
    ) -> tuple[Sequence[str], npt.NDArray[np.float32], CMMImageClassifier | None]:
        """Returns class names, the probabilities of embeddings, and the classifier, if any."""
        classifier = self._classifier
        if classifier is None:
            names = self.project.state.class_names
            return names, model.zero_shot(rows, names), None
        from keras_cmm_studio.studio_model import probabilities_of

        return classifier.class_names, probabilities_of(classifier.head, rows), classifier

    def _zero_shot_classifier(self, model: StudioModel) -> CMMImageClassifier:
        names = tuple(self.project.state.class_names)
        if self._untrained is None or self._untrained.class_names != names:
            self._untrained = model.new_classifier(names)
        return self._untrained

    # === The engine's own thread ===

    def _run(self) -> None:
        try:
            with self._keras:
                model = self._load()
                self._classifier = model.saved
            self._model = model
            self._say("clip", "ready")
        # Whatever keeps CLIP from loading, the page shows it, and the project stays usable.
        except BaseException as error:
            self._say("clip", "failed", _reason(error))
            return
        while True:
            self._embed_new(model)
            with self._news:
                if self._stopped:
                    return
                job = next((each for each in ("train", "save") if each in self._wanted), None)
                if job is None:
                    if not self._new_images():
                        self._news.wait(timeout=1)
                    continue
                self._wanted.discard(job)
            name, work = ("training", self._train) if job == "train" else ("saving", self._save)
            try:
                work(model)
            except Exception as error:
                self._say(name, "failed", _reason(error))

    def _say(self, name: str, state: str, message: str = "", part: float = 0.0) -> None:
        with self._news:
            self._status[name] = {"state": state, "message": message, "part": part}

    def _new_images(self) -> list[str]:
        return [
            name
            for name in self.project.state.images
            if name not in self._rows and name not in self._unread
        ]

    def _embed_new(self, model: StudioModel) -> None:
        """Embeds images until all of the project are embedded. The store keeps the embeddings."""
        while (new := self._new_images()[:_BATCH]) and not self._stopped:
            # One by one only if one of them cannot be used, so that the others are.
            if not self._embedded(model, new):
                for name in new:
                    self._embedded(model, [name])

    def _embedded(self, model: StudioModel, names: list[str]) -> bool:
        try:
            images = [NamedBytes(name, self.project.read(name)) for name in names]
            with self._keras:
                rows = model.embedder.embed(images).embeddings
        # Whatever an image does to CLIP, the others are embedded.
        except Exception as error:
            # One that was removed meanwhile may come back by undo.
            if len(names) == 1 and names[0] in self.project.state.images:
                with self._news:
                    self._unread[names[0]] = _reason(error)
            return False
        with self._news:
            self._rows.update(zip(names, rows, strict=True))
        return True

    def _train(self, model: StudioModel) -> None:
        from keras_cmm.data import sample_few_shot
        from keras_cmm_studio.studio_model import SEED, epoch_callback

        self._say("training", "training", "training on the images")
        state = self.project.state
        _check_trainable(state)
        names = state.class_names
        labelled = [
            (label, image)
            for label, each in enumerate(state.classes)
            for image in state.images_of(each.id)
            if image.name in self._rows
        ]
        if not labelled:
            raise InputError("no image of a class can be used; add others.")
        keys = [f"{state.classes[label].folder}/{image.name}" for label, image in labelled]
        labels = np.array([label for label, _ in labelled])
        # The order of `keras-cmm fit`, on which the weights depend.
        sample = sample_few_shot(labels, "all", seed=SEED, keys=keys)
        drawn = [labelled[row] for row in sample.indices.tolist()]
        rows = np.stack([self._rows[image.name] for _, image in drawn])
        ids = labels[sample.indices]

        def show(part: float) -> None:
            self._say("training", "training", "training on the images", 0.4 * part)

        with self._keras:
            classifier = model.new_classifier(names)
            history = classifier.fit_embeddings(
                rows,
                [names[label] for label in ids.tolist()],
                seed=SEED,
                verbose=0,
                callbacks=[epoch_callback(show)],
            ).history
        # Those of `fit` are a few images; the test below judges all of them.
        classifier.head.held_out_scores = None
        records = [
            {
                "name": f"{state.classes[label].folder}/{image.name}",
                "label": names[label],
                "sha256": hashlib.sha256(self.project.read(image.name)).hexdigest(),
            }
            for label, image in drawn
        ]
        _name_support(classifier, [image.name for _, image in drawn])
        trained = TrainedClassifier(
            classifier=classifier,
            sample=sample,
            history={name: [float(each) for each in values] for name, values in history.items()},
            images=records,
            preset=self.preset,
            seed=SEED,
            fingerprint=fingerprint(state),
        )
        with self._news:
            self._trained, self._classifier, self._test = trained, classifier, None
        self.project.set_options(trained=trained.fingerprint)
        self._say("training", "testing", "testing on left-out images", 0.4)
        test = self._cross_validated(model, rows, ids, names, classifier.head.temperature)
        classifier.head.held_out_scores = test.scores()
        with self._news:
            self._test = (test, [image.name for _, image in drawn], state)
        self._say("training", "done", part=1.0)

    def _cross_validated(
        self,
        model: StudioModel,
        rows: npt.NDArray[np.float32],
        ids: npt.NDArray[np.int64],
        names: Sequence[str],
        temperature: float,
    ) -> CrossValidation:
        from keras_cmm.recipes import AutoRecipe
        from keras_cmm_studio.studio_model import SEED, probabilities_of

        def predict(train: Any, labels: Any, test: Any) -> npt.NDArray[np.floating]:
            # Questions about pictures are answered between the folds.
            with self._keras:
                head = model.new_head(names)
                # The temperature of the classifier, which takes a second training to find.
                AutoRecipe().fit(
                    head,
                    train,
                    labels,
                    seed=SEED,
                    compile_arguments={"metrics": None},
                    calibrate=False,
                    verbose=0,
                )
                head.temperature = temperature
                return probabilities_of(head, test)

        def show(part: float) -> None:
            self._say("training", "testing", "testing on left-out images", 0.4 + 0.6 * part)

        return cross_validate(rows, ids, len(names), predict, SEED, show)

    def _save(self, model: StudioModel) -> None:
        trained = self._trained
        assert trained is not None
        self._say("saving", "saving", "writing the model and its ONNX file")
        with self._keras:
            self._write(self.project.folder / MODEL, trained)
        self.project.set_options(saved=trained.fingerprint)
        self._say("saving", "done")

    def _test_report(self, state: ProjectState) -> dict[str, Any] | None:
        with self._news:
            if self._test is None:
                return None
            test, images, then = self._test
        report = test.as_dict()
        ids = [each.id for each in then.classes]
        for row in report["confusions"]:
            row["label"], row["prediction"] = ids[row["label"]], ids[row["prediction"]]
        for each, class_id in zip(report["classes"], ids, strict=True):
            each["class_id"] = class_id
        report["suspicious"] = []
        for row in test.suspicious():
            image = state.images.get(images[row])
            # Once the user has looked at it, its label is no longer the tested one.
            if image is not None and image.class_id == ids[test.labels[row]]:
                best = int(test.probabilities[row].argmax())
                report["suspicious"].append(
                    {
                        "image": image.name,
                        "class_id": image.class_id,
                        "prediction": ids[best],
                        "own": float(test.probabilities[row, test.labels[row]]),
                        "probability": float(test.probabilities[row, best]),
                    }
                )
        return report


def _check_trainable(state: ProjectState) -> None:
    if len(state.classes) < 2:
        raise InputError("there must be two classes or more; name them first.")
    if not any(image.class_id is not None for image in state.images.values()):
        raise InputError("there are no images to train on; add some to the classes.")


def _reject_report(scores: HeldOutScores | None) -> dict[str, Any] | None:
    if scores is None:
        return None
    return {"rate": reject_rate(scores), "held_out": len(scores.best)}


def _name_support(classifier: CMMImageClassifier, names: list[str]) -> None:
    from dataclasses import replace

    if classifier.support_images is not None:
        classifier.support_images = replace(classifier.support_images, names=names)


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
