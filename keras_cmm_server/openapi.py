"""The OpenAPI schema of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_cmm_runtime import OnnxClassifier

Schema = dict[str, Any]

_PROBLEMS = {
    400: "The request is malformed.",
    404: "There is no such model or version.",
    408: "The body did not arrive in time.",
    413: "The body, or an image in it, is too large, or there are too many images.",
    415: "The content type or encoding is not taken.",
    421: "The Host header names another server.",
    422: "An image cannot be read.",
    429: "The server is busy.",
    503: "The server starts or stops.",
    504: "The answer took too long.",
}
_RATE = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
_RATES = {"reject": _RATE, "coverage": _RATE}
_WHITE_PIXEL = (  # a PNG file in base64
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC"
)
_OF_BODIES = (400, 408, 413, 415, 421, 422, 429, 503, 504)


def openapi_schema(classifier: OnnxClassifier, name: str) -> Schema:
    """Returns the OpenAPI 3.1 schema of the server of a classifier.

    Args:
        classifier: The model.
        name: Its name.

    Returns:
        The schema, ready for JSON.
    """
    size, classes = classifier.preprocessor.image_size, len(classifier.class_names)
    paths: Schema = {
        "/v2": {"get": _get("serverMetadata", "Name and version", "ServerMetadata")},
        "/v2/health/live": {"get": _get("live", "Whether the process lives", "Live")},
        "/v2/health/ready": {"get": _get("ready", "Whether images can be sent", "Ready", 503)},
        "/predict": {"post": _predict()},
        "/metrics": {"get": _metrics()},
        "/openapi.json": {"get": _get("schema", "This schema", None)},
    }
    for path, version in (("", False), ("/versions/{version}", True)):
        suffix = "OfVersion" if version else ""
        model = f"/v2/models/{{name}}{path}"
        get_metadata = _get(f"modelMetadata{suffix}", "Tensors and classes", "ModelMetadata", 404)
        get_ready = _get(f"modelReady{suffix}", "Readiness of a model", "ModelReady", 404, 503)
        parameters = _model_parameters(name, version)
        paths[model] = {"parameters": parameters, "get": get_metadata}
        paths[f"{model}/ready"] = {"parameters": parameters, "get": get_ready}
        paths[f"{model}/infer"] = {"parameters": parameters, "post": _infer(f"infer{suffix}")}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"keras-cmm: {name}",
            "version": "1",
            "description": f"Classifies images into {classes:,} classes. Open Inference Protocol "
            "v2 with Triton's binary tensors, and POST /predict for plain files.",
        },
        "paths": paths,
        "components": {"schemas": _schemas(size, classes)},
    }


def _get(operation: str, summary: str, schema: str | None, *problems: int) -> Schema:
    content = {"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "object"}
    responses = {"200": _answer("Done.", content), **_problems(421, *problems)}
    if schema in ("Ready", "ModelReady"):
        responses["503"] = _answer("The server starts or stops.", content)
    return {"operationId": operation, "summary": summary, "responses": responses}


def _metrics() -> Schema:
    text = {"text/plain": {"schema": {"type": "string"}}}
    responses = {"200": {"description": "Prometheus's text format.", "content": text}}
    return {
        "operationId": "metrics",
        "summary": "Counts and times for Prometheus",
        "responses": {**responses, **_problems(421)},
    }


def _predict() -> Schema:
    options = {"top_k": {"type": "integer", "minimum": 1}, **_RATES}
    file = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "properties": {"file": {"type": "array", "items": file, "minItems": 1}, **options},
        "required": ["file"],
        "additionalProperties": False,
    }
    descriptions = {
        "top_k": "Number of classes for each image, 5 by default.",
        "reject": "Say `unknown` of an image that the model is less sure of than of all but this "
        "part of held-out training images, such as 0.05.",
        "coverage": "Name as many classes for each image as it takes to hold the right one with "
        "this probability, such as 0.9, in the place of `top_k`.",
    }
    query = [
        {"name": name, "in": "query", "description": text, "schema": options[name]}
        for name, text in descriptions.items()
    ]
    types = ("image/*", "application/octet-stream")
    content = {"multipart/form-data": {"schema": form}}
    answer = {"$ref": "#/components/schemas/Predictions"}
    return {
        "operationId": "predict",
        "summary": "The classes of one or many image files",
        "parameters": query,
        "requestBody": {
            "required": True,
            "content": content | {kind: {"schema": file} for kind in types},
        },
        "responses": {"200": _answer("Done.", answer), **_problems(*_OF_BODIES)},
    }


def _infer(operation: str) -> Schema:
    image = {"name": "images", "datatype": "BYTES", "shape": [1], "data": [_WHITE_PIXEL]}
    content = {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/InferRequest"},
            "example": {"inputs": [image], "outputs": [{"name": "probabilities"}]},
        },
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    }
    length = {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "description": "Where the JSON ends and the binary values begin; without it all is JSON.",
        "schema": {"type": "integer", "minimum": 0},
    }
    answer = _answer("Done.", {"$ref": "#/components/schemas/InferResponse"})
    answer["content"]["application/octet-stream"] = {"schema": {"type": "string"}}
    return {
        "operationId": operation,
        "summary": "Runs the model",
        "parameters": [length],
        "requestBody": {"required": True, "content": content},
        "responses": {"200": answer, **_problems(404, *_OF_BODIES)},
    }


def _model_parameters(name: str, version: bool) -> list[Schema]:
    values = {"name": name, "version": "1"} if version else {"name": name}
    return [
        {"name": key, "in": "path", "required": True, "schema": {"enum": [value]}}
        for key, value in values.items()
    ]


def _problems(*statuses: int) -> Schema:
    problems: Schema = {}
    for status in statuses:
        problem = _answer(_PROBLEMS[status], {"$ref": "#/components/schemas/Problem"})
        if status == 429:
            problem["headers"] = {
                "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}
            }
        problems[str(status)] = problem
    return problems


def _answer(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _object(required: tuple[str, ...] | None = None, **properties: Schema) -> Schema:
    names = list(properties if required is None else required)
    return {"type": "object", "properties": properties, "required": names}


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _schemas(size: int, classes: int) -> Schema:
    text: Schema = {"type": "string"}
    number: Schema = {"type": "number"}
    truth: Schema = {"type": "boolean"}
    whole: Schema = {"type": "integer"}
    shape = _list(whole)
    tensor = _object(name=text, datatype=text, shape=shape)
    # One image, since the fuzzer need not send many to find what is wrong.
    pixels = _object(
        ("name", "datatype", "shape", "data"),
        name={"const": "pixels"},
        datatype={"const": "UINT8"},
        shape=_list({"type": "integer", "minimum": 0}, minItems=4, maxItems=4),
        data={"type": "array", "description": f"Numbers 0 to 255, {size} x {size} x 3 an image."},
    )
    images = _object(
        ("name", "datatype", "shape", "data"),
        name={"const": "images"},
        datatype={"const": "BYTES"},
        shape=_list({"type": "integer", "minimum": 0}, minItems=1, maxItems=2),
        data=_list({"type": "string", "contentEncoding": "base64"}),
    )
    wanted = _object(
        ("name",),
        name={"enum": ["logits", "probabilities", "unknown", "prediction_sets"]},
        parameters=_object(
            (),
            binary_data=truth,
            classification={"type": "integer", "minimum": 0, "maximum": classes},
        ),
    )
    output = _object(
        ("name", "datatype", "shape"),
        name=text,
        datatype={"enum": ["BOOL", "BYTES", "FP32"]},
        shape=shape,
        data={"type": "array"},
    )
    prediction = _object(("class", "probability"), probability=number)
    prediction["properties"]["class"] = text  # a word of Python
    return {
        "Problem": _object(error=text),
        "ServerMetadata": _object(name=text, version=text, extensions=_list(text)),
        "Live": _object(live=truth),
        "Ready": _object(ready=truth),
        "ModelReady": _object(name=text, ready=truth),
        "ModelMetadata": _object(
            name=text,
            versions=_list(text),
            platform=text,
            inputs=_list(tensor),
            outputs=_list(tensor),
            parameters=_object(class_names=_list(text), digest=text),
        ),
        "InferRequest": _object(
            ("inputs",),
            id=text,
            inputs=_list({"oneOf": [pixels, images]}, minItems=1, maxItems=1),
            outputs=_list(wanted),
            parameters=_object((), **_RATES),
        ),
        "InferResponse": _object(
            ("model_name", "model_version", "outputs"),
            model_name=text,
            model_version=text,
            id=text,
            outputs=_list(output),
        ),
        "Predictions": _object(
            model=text, images=_list(_object(image=text, predictions=_list(prediction)))
        ),
    }
