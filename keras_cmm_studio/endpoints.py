"""The paths of the studio."""

from __future__ import annotations

import functools
import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from PIL import Image
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from keras_cmm_runtime.images import read_image
from keras_cmm_studio.engine import MODEL, Engine
from keras_cmm_studio.named_bytes import NamedBytes
from keras_cmm_studio.project import Project
from keras_cmm_studio.uploads import RequestError, read_files, read_json

_STATIC = Path(__file__).parent / "static"
_KINDS = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_THUMBNAIL = 160
_TOP_K = 5
_SUGGESTED = 12


def routes() -> list[Route]:
    """Returns the routes of the studio."""
    files = {path.name: path for path in _STATIC.iterdir() if path.suffix in _KINDS}
    post = ["POST"]
    return [
        Route("/", _static(files["index.html"])),
        # By their names alone: no part of a path of a request ever becomes a path here.
        *(Route(f"/static/{name}", _static(path)) for name, path in files.items()),
        Route("/api/state", get_state),
        Route("/api/classes", add_classes, methods=post),
        Route("/api/classes/{class_id:int}/rename", rename_class, methods=post),
        Route("/api/classes/{class_id:int}/remove", remove_class, methods=post),
        Route("/api/classes/{class_id:int}/images", add_images, methods=post),
        Route("/api/unlabelled/images", add_images, methods=post),
        Route("/api/images/{name}", get_image),
        Route("/api/images/move", move_images, methods=post),
        Route("/api/images/remove", remove_images, methods=post),
        Route("/api/undo", undo, methods=post),
        Route("/api/redo", redo, methods=post),
        Route("/api/suggestions", get_suggestions),
        Route("/api/train", train, methods=post),
        Route("/api/try", try_picture, methods=post),
        Route("/api/explain", explain_picture, methods=post),
        Route("/api/save", save, methods=post),
        Route("/api/model.zip", get_model),
        Route("/api/classifier.onnx", get_onnx),
    ]


async def get_state(request: Request) -> JSONResponse:
    """Answers with all that the page shows."""
    return JSONResponse(await run_in_threadpool(_state, request))


async def add_classes(request: Request) -> JSONResponse:
    """Adds the classes `names`."""
    names = _texts((await read_json(request)).get("names"), "names")
    return await _changed(request, _project(request).add_classes, names)


async def rename_class(request: Request) -> JSONResponse:
    """Gives a class another `name`."""
    name = _text((await read_json(request)).get("name"), "name")
    class_id = request.path_params["class_id"]
    return await _changed(request, _project(request).rename_class, class_id, name)


async def remove_class(request: Request) -> JSONResponse:
    """Removes a class and its images."""
    return await _changed(request, _project(request).remove_class, request.path_params["class_id"])


async def add_images(request: Request) -> JSONResponse:
    """Adds the uploaded images to a class, or to the unlabelled ones."""
    project = _project(request)
    files = await read_files(request, project.settings)
    class_id = request.path_params.get("class_id")
    added, refused = await run_in_threadpool(project.add_images, class_id, files)
    _engine(request).wake()
    state = await run_in_threadpool(_state, request)
    return JSONResponse({**state, "added": added, "refused": refused})


async def move_images(request: Request) -> JSONResponse:
    """Gives `images` the class `class_id`, or makes them unlabelled."""
    content = await read_json(request)
    class_id = content.get("class_id")
    if class_id is not None and type(class_id) is not int:
        raise RequestError(400, "`class_id` must be an int or null.")
    images = _texts(content.get("images"), "images")
    return await _changed(request, _project(request).move_images, images, class_id)


async def remove_images(request: Request) -> JSONResponse:
    """Removes `images`."""
    images = _texts((await read_json(request)).get("images"), "images")
    return await _changed(request, _project(request).remove_images, images)


async def undo(request: Request) -> JSONResponse:
    """Takes back the last step."""
    return await _changed(request, _project(request).undo)


async def redo(request: Request) -> JSONResponse:
    """Does the step again that was undone last."""
    return await _changed(request, _project(request).redo)


async def get_image(request: Request) -> Response:
    """Answers with an image of the project, made small.

    It is drawn anew, so that no byte of an upload ever reaches the browser.
    """
    data = await run_in_threadpool(_thumbnail, _project(request), request.path_params["name"])
    # A name stands for its content.
    headers = {"cache-control": "private, max-age=86400, immutable"}
    return Response(data, media_type="image/png", headers=headers)


async def get_suggestions(request: Request) -> JSONResponse:
    """Answers which unlabelled images to label next."""
    return JSONResponse(await run_in_threadpool(_engine(request).suggestions, _SUGGESTED))


async def train(request: Request) -> JSONResponse:
    """Begins to train."""
    return await _changed(request, functools.partial(_engine(request).ask, "train"))


async def save(request: Request) -> JSONResponse:
    """Begins to save the classifier."""
    return await _changed(request, functools.partial(_engine(request).ask, "save"))


async def try_picture(request: Request) -> JSONResponse:
    """Answers what an uploaded picture shows. The picture is not kept."""
    name, data = await _one_file(request)
    return JSONResponse(await run_in_threadpool(_engine(request).classify, name, data, _TOP_K))


async def explain_picture(request: Request) -> JSONResponse:
    """Answers why. The class may be named by the query."""
    name, data = await _one_file(request)
    class_name = request.query_params.get("class")
    return JSONResponse(await run_in_threadpool(_engine(request).explain, name, data, class_name))


async def get_model(request: Request) -> Response:
    """Answers with the saved model as a zip file."""
    path = await run_in_threadpool(_zipped, _project(request))
    # The file goes with the answer, also if the client leaves.
    return FileResponse(
        path,
        media_type="application/zip",
        filename="keras-cmm-model.zip",
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


async def get_onnx(request: Request) -> Response:
    """Answers with the ONNX file of the saved model."""
    path = _project(request).folder / MODEL / "classifier.onnx"
    if not path.is_file():
        raise RequestError(404, "there is no saved ONNX file; save the model first.")
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)


def _state(request: Request) -> dict[str, Any]:
    project, engine = _project(request), _engine(request)
    state = project.state
    return {
        "revision": project.revision,
        "undo": project.next_undo,
        "redo": project.next_redo,
        "preset": engine.preset,
        "classes": [
            {
                "id": each.id,
                "name": each.name,
                "images": [_described(image) for image in state.images_of(each.id)],
            }
            for each in state.classes
        ],
        "unlabelled": [_described(image) for image in state.images_of(None)],
        "limits": {
            "images_a_request": project.settings.max_images_a_request,
            "bytes_a_request": project.settings.max_body_bytes,
        },
        "has_model": (project.folder / MODEL).is_dir(),
        **engine.status(),
    }


def _described(image: Any) -> dict[str, str]:
    return {"name": image.name, "original": image.original}


async def _changed(request: Request, change: Any, *arguments: Any) -> JSONResponse:
    """Makes a change in a thread; answers with the new state once it is on the disk."""
    await run_in_threadpool(change, *arguments)
    _engine(request).wake()
    return JSONResponse(await run_in_threadpool(_state, request))


async def _one_file(request: Request) -> tuple[str, bytes]:
    files = await read_files(request, _project(request).settings)
    if len(files) > 1:
        raise RequestError(413, "send one image.")
    return files[0]


@functools.lru_cache(maxsize=2000)
def _thumbnail(project: Project, name: str) -> bytes:
    picture = read_image(NamedBytes("the image", project.read(name)))
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _zipped(project: Project) -> Path:
    folder = project.folder / MODEL
    if not folder.is_dir():
        raise RequestError(404, "there is no saved model; save it first.")
    with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as file:
        # Weights do not get smaller.
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    archive.write(path, Path(MODEL, path.relative_to(folder)))
        return Path(file.name)


def _static(path: Path) -> Any:
    data = path.read_bytes()

    async def answer(request: Request) -> Response:
        return Response(data, media_type=_KINDS[path.suffix])

    return answer


def _project(request: Request) -> Project:
    project: Project = request.app.state.project
    return project


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise RequestError(400, f"`{name}` must be a text.")
    return value


def _texts(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise RequestError(400, f"`{name}` must be a list of one or more texts.")
    return value
