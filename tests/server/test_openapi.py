"""The OpenAPI schema: the server does what it says, whatever is sent. See also `fuzz_server.py`."""

import re

from fuzz_server import fuzz

from keras_cmm_server import create_app


def test_all_routes_are_described(client, classifier):
    paths = client.get("/openapi.json").json()["paths"]
    routes = {route.path: route.methods - {"HEAD"} for route in create_app(classifier).routes}
    assert {
        path: {method.upper() for method in methods if method != "parameters"}
        for path, methods in paths.items()
    } == routes
    named = [
        method["operationId"]
        for methods in paths.values()
        for name, method in methods.items()
        if name != "parameters"
    ]
    assert len(set(named)) == len(named)


def test_the_example_of_the_schema_is_answered(client):
    content = client.get("/openapi.json").json()["paths"]["/v2/models/{name}/infer"]["post"]
    example = content["requestBody"]["content"]["application/json"]["example"]
    answer = client.post("/v2/models/colours/infer", json=example)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["outputs"][0]["data"]) == 3


def test_fuzzed(address):
    output = fuzz(f"http://{address}", examples=5, phases="examples,fuzzing")
    assert re.search(r"\b\d+ generated", output), output
