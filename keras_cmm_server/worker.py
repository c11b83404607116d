"""One of several processes of a server."""

import json
import os

from starlette.applications import Starlette

from keras_cmm_runtime import OnnxClassifier
from keras_cmm_server.app import create_app
from keras_cmm_server.server_settings import ServerSettings

WORKER_VARIABLE = "KERAS_CMM_SERVE"
"""The variable that tells a worker what to serve."""


def create_worker_app() -> Starlette:
    """Makes the app that the environment describes; uvicorn calls this in each worker."""
    content = json.loads(os.environ[WORKER_VARIABLE])
    settings = dict(content["settings"])
    if settings["allowed_hosts"] is not None:
        settings["allowed_hosts"] = tuple(settings["allowed_hosts"])
    classifier = OnnxClassifier.load(content["model"], content["threads"])
    return create_app(classifier, content["name"], ServerSettings(**settings))
