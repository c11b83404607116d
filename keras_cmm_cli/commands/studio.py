"""`keras-cmm studio`: a page to train a classifier and to try it."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.folder_replacement import restore_folder
from keras_cmm_cli.model_folder import describe_run, write_model
from keras_cmm_cli.options import unused_seed_option
from keras_cmm_cli.outputs import check_new_folder, new_folder
from keras_cmm_cli.terminal import Terminal, counted, with_terminal

if TYPE_CHECKING:
    from keras_cmm_studio import Project, TrainedClassifier

_PACKAGES = ("python_multipart", "starlette", "uvicorn")
_PRESET = "clip_vit_base_patch16"
_FOLDER = "keras-cmm-studio"
_AT_A_TIME = 32


@click.command(
    epilog="""\b
Examples:
  keras-cmm studio
  keras-cmm studio photos/ --project foxes
  keras-cmm studio my_model --port 8500
"""
)
@click.argument("source", required=False, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--project",
    "place",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help=f"Folder that keeps classes, images and the model.  [default: {_FOLDER}]",
)
@click.option(
    "--preset",
    help="CLIP to build on, see `keras-cmm fit`.  [default: that of the project or of the model, "
    f"else {_PRESET}]",
)
@click.option(
    "--template",
    "templates",
    multiple=True,
    help="Prompt with {} for the class name; several are averaged.  [default: that of the project "
    "or of the model, else a photo of a {}.]",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen at. At any but the default the page asks for a token.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8400,
    show_default=True,
    help="Port to listen at, 0 for any that is free.",
)
@unused_seed_option
@with_terminal
def studio(
    terminal: Terminal,
    /,
    source: Path | None,
    place: Path | None,
    preset: str | None,
    templates: tuple[str, ...],
    host: str,
    port: int,
) -> None:
    """Open a page to name classes, add images, train a classifier and try it.

    SOURCE is a folder of images by class, whose images are copied into a new project; or a model of
    `fit`, to try and to train anew; or the folder of a project. Without it, the project of
    --project is opened, or a new one begun.

    Each change is in the project before the page shows it. Nothing leaves this machine. Ctrl-C
    ends.
    """
    _check_packages()
    place = _place(terminal, source, place)
    from keras_cmm_studio import Engine, Project, run_studio

    with Project(place) as project:
        if preset is not None:
            project.set_options(preset=preset)
        if templates:
            project.set_options(templates=_checked_templates(templates))
        options = project.options
        chosen = str(options.get("preset", _PRESET))
        shown = threading.Event()

        def load() -> Any:
            # While Keras is imported, stderr is closed. The address must be out before.
            shown.wait()
            load_keras()
            from keras_cmm_studio import StudioModel

            return StudioModel(chosen, options.get("templates"), project.folder / "embeddings")

        def tell(address: str) -> None:
            terminal.note(f"The project {place} is open at {address} (Ctrl-C ends)")
            shown.set()

        engine = Engine(project, load, chosen, write_trained)
        try:
            # uvicorn mostly raises a signal again after it has stopped, but not always.
            with contextlib.suppress(KeyboardInterrupt):
                run_studio(engine, host, port, tell)
            terminal.note("Ended. The project is kept.")
        finally:
            shown.set()


def _place(terminal: Terminal, source: Path | None, place: Path | None) -> Path:
    """Returns the folder of the project, which is made from the source if there is one."""
    from keras_cmm_studio import is_project

    if source is not None and is_project(source):
        if place is not None:
            raise click.UsageError(f"{source} is a project itself; leave out --project.")
        return source
    place = place or Path(_FOLDER)
    if source is None:
        return place
    with contextlib.suppress(OSError, RuntimeError):
        restore_folder(source.resolve())
    if is_project(place):
        if _source_of(place) == str(source.resolve()):
            terminal.note(f"{place}: was made from {source} before; what was done is kept.")
            return place
        raise click.ClickException(
            f"{place}: is another project; give --project the name of a new folder."
        )
    check_new_folder(place, False, "project")
    with new_folder(place, False) as folder:
        _import(terminal, source, folder)
    return place


def _source_of(place: Path) -> str | None:
    from keras_cmm_runtime.utils import read_json_object
    from keras_cmm_studio import PROJECT_FILE

    options = read_json_object(place / PROJECT_FILE).get("options")
    return options.get("source") if isinstance(options, dict) else None


def _import(terminal: Terminal, source: Path, folder: Path) -> None:
    """Makes a project of a folder of images by class, or of a saved model."""
    from keras_cmm_studio import Project

    with Project(folder) as project:
        if (source / "task.json").is_file():
            _import_model(terminal, source, project)
        else:
            _import_images(terminal, source, project)
        project.set_options(source=str(source.resolve()))


def _import_model(terminal: Terminal, source: Path, project: Project) -> None:
    with terminal.status("loading Keras"):
        load_keras()
    from keras_cmm.models import saved_class_names

    names = saved_class_names(str(source))
    if names is None:
        raise click.ClickException(f"{source}: is no saved classifier; give a folder of `fit`.")
    project.add_classes(names)
    project.set_options(preset=str(source.resolve()))


def _import_images(terminal: Terminal, source: Path, project: Project) -> None:
    import io
    import warnings

    from keras_cmm_runtime.images import file_bytes, read_image
    from keras_cmm_runtime.sources import open_images
    from keras_cmm_runtime.utils import listed

    images = open_images(source)
    project.add_classes(images.class_names)
    by_class: dict[int, list[tuple[str, Any]]] = {}
    for key, image, label in images:
        by_class.setdefault(int(label), []).append((key.rpartition("/")[2], image))

    def content(image: Any) -> bytes:
        from keras_cmm_runtime import InputError

        try:
            data = file_bytes(image)
        except InputError:
            return b""  # told by the project
        if data is None:
            file = io.BytesIO()
            read_image(image).save(file, "PNG")
            data = file.getvalue()
        return data

    done = 0
    reasons: list[str] = []
    with terminal.progress("copying images") as progress:
        for label, members in sorted(by_class.items()):
            class_id = project.state.classes[label].id
            # Some at a time, since they are held in memory until they are written.
            for start in range(0, len(members), _AT_A_TIME):
                some = members[start : start + _AT_A_TIME]
                files = ((name, content(image)) for name, image in some)
                _, refused = project.add_images(class_id, files)
                reasons += [each["reason"] for each in refused]
                done += len(some)
                progress(done, len(images))
    if reasons:
        warnings.warn(
            f"{counted(len(reasons), 'image is', 'images are')} left out: "
            f"{listed(reasons, 5, str)}",
            stacklevel=2,
        )


def write_trained(place: Path, trained: TrainedClassifier) -> None:
    """Writes what `fit` writes, whole or not at all. The engine of the studio calls it.

    Args:
        place: The folder. A model that is there is replaced.
        trained: The classifier.

    Raises:
        InputError: If the folder cannot be written, or holds what no command wrote.
    """
    from keras_cmm_runtime import InputError

    run = describe_run(
        trained.classifier, trained.sample, trained.preset, trained.history, trained.seed
    )
    run["images"] = trained.images
    try:
        check_new_folder(place, True)
        with new_folder(place) as folder:
            write_model(folder, trained.classifier, trained.sample, run)
    except click.ClickException as error:
        raise InputError(error.message) from error


def _checked_templates(templates: tuple[str, ...]) -> list[str]:
    for template in templates:
        if "{}" not in template:
            raise click.UsageError(f"--template must hold {{}} for the class name: {template!r}")
    return list(templates)


def _check_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise click.ClickException(
            f"{missing[0]} is not installed; install the studio by "
            "`pip install 'keras-cmm[studio]'`."
        )
