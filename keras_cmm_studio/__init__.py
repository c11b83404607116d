"""The page of `keras-cmm studio`: train a classifier, and try it, in a browser.

It runs on Starlette and uvicorn. Importing it imports no Keras: the engine loads CLIP in a thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_cmm_studio.app import LOCAL_NAMES, create_app
from keras_cmm_studio.engine import MODEL, Engine
from keras_cmm_studio.project import PROJECT_FILE, Project, is_project
from keras_cmm_studio.serving import run_studio
from keras_cmm_studio.studio_settings import StudioSettings
from keras_cmm_studio.trained_classifier import TrainedClassifier

if TYPE_CHECKING:
    from keras_cmm_studio.studio_model import StudioModel

__all__ = [
    "LOCAL_NAMES",
    "MODEL",
    "PROJECT_FILE",
    "Engine",
    "Project",
    "StudioModel",
    "StudioSettings",
    "TrainedClassifier",
    "create_app",
    "is_project",
    "run_studio",
]


def __getattr__(name: str) -> Any:
    # Keras takes seconds, which the page need not wait for.
    if name == "StudioModel":
        from keras_cmm_studio.studio_model import StudioModel

        return StudioModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
