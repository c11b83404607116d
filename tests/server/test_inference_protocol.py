"""The Open Inference Protocol v2: by the client of Triton, and by hand."""

import asyncio
import base64
import json

import numpy as np
import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from keras_cmm_server import ServerSettings


@pytest.fixture
def triton(address):
    with tritonclient.http.InferenceServerClient(address) as client:
        yield client


def pixels_input(pixels, **options):
    tensor = tritonclient.http.InferInput("pixels", pixels.shape, "UINT8")
    tensor.set_data_from_numpy(pixels, **options)
    return tensor


def images_input(files, shape=None):
    values = np.array(files, dtype=object).reshape(shape or (len(files),))
    tensor = tritonclient.http.InferInput("images", values.shape, "BYTES")
    tensor.set_data_from_numpy(values)
    return tensor


def output(name, **options):
    return tritonclient.http.InferRequestedOutput(name, **options)


def test_triton_health_and_metadata(triton, classifier):
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("colours")
    assert triton.is_model_ready("colours", "1")
    assert not triton.is_model_ready("other")
    assert not triton.is_model_ready("colours", "2")
    assert triton.get_server_metadata()["name"] == "keras-cmm"
    content = triton.get_model_metadata("colours")
    assert content["name"] == "colours"
    assert content["versions"] == ["1"]
    assert content["inputs"][0] == {
        "name": "pixels",
        "datatype": "UINT8",
        "shape": [-1, 16, 16, 3],
    }
    assert [each["name"] for each in content["outputs"]] == ["logits", "probabilities"]
    assert content["parameters"]["class_names"] == classifier.class_names
    assert content["parameters"]["digest"] == classifier.digest


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_triton_infers_from_pixels(triton, classifier, pixels, binary_in, binary_out):
    result = triton.infer(
        "colours",
        [pixels_input(pixels, binary_data=binary_in)],
        outputs=[output(name, binary_data=binary_out) for name in ("probabilities", "logits")],
        request_id="7",
    )
    expected = classifier.predict_pixels(pixels)
    logits = result.as_numpy("logits")
    assert logits.dtype == "float32"
    np.testing.assert_array_equal(logits, expected)
    found = result.as_numpy("probabilities")
    np.testing.assert_array_equal(found, classifier.probabilities(expected))
    assert result.get_response()["id"] == "7"
    assert result.get_response()["model_name"] == "colours"


def test_triton_gets_all_outputs_in_binary_by_default(triton, pixels):
    result = triton.infer("colours", [pixels_input(pixels)], model_version="1")
    for each in result.get_response()["outputs"]:
        assert each["parameters"]["binary_data_size"] == 5 * 3 * 4
        assert result.as_numpy(each["name"]).shape == (5, 3)


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_triton_infers_from_encoded_images(triton, classifier, picture, shape):
    files = [picture(), picture((0, 0, 255))]
    result = triton.infer("colours", [images_input(files, shape)])
    np.testing.assert_array_equal(result.as_numpy("logits"), classifier.predict(files))


def test_triton_gets_class_names(triton, pixels, classifier):
    result = triton.infer(
        "colours", [pixels_input(pixels)], outputs=[output("probabilities", class_count=2)]
    )
    found = result.as_numpy("probabilities")
    assert found.shape == (5, 2)
    value, index, name = found[0, 0].decode().split(":")
    probabilities = classifier.probabilities(classifier.predict_pixels(pixels))[0]
    assert int(index) == probabilities.argmax()
    assert name == classifier.class_names[int(index)]
    assert float(value) == pytest.approx(probabilities.max(), abs=1e-6)


@pytest.mark.parametrize("binary", [True, False])
def test_triton_gets_what_is_unknown_and_sets_of_classes(triton, picture, classifier, binary):
    files = [picture(), picture((90, 90, 90)), picture((90, 110, 20))]
    rates = {"reject": 0.05, "coverage": 0.9}
    names = ("unknown", "prediction_sets", "probabilities")
    outputs = [output(name, binary_data=binary) for name in names]
    result = triton.infer("colours", [images_input(files)], outputs=outputs, parameters=rates)
    unknown, sets, probabilities = map(result.as_numpy, names)
    assert unknown.tolist() == [False, True, False]
    assert sets.dtype == bool
    assert sets.tolist() == [[True, False, False], [True, True, True], [True, True, False]]
    np.testing.assert_array_equal(
        probabilities, classifier.probabilities(classifier.predict(files))
    )
    # Without names there are all outputs that the parameters ask for.
    result = triton.infer("colours", [images_input(files)], parameters={"reject": 0.05})
    found = [each["name"] for each in result.get_response()["outputs"]]
    assert found == ["logits", "probabilities", "unknown"]


@pytest.mark.parametrize(
    ("rates", "wanted", "word"),
    [
        ({"reject": 0}, None, "`reject` must be a float in (0, 1). Received: reject=0"),
        ({"reject": True}, None, "`reject` must be a float in (0, 1)"),
        ({"coverage": "0.9"}, None, "`coverage` must be a float in (0, 1)"),
        ({"coverage": 10**400}, None, "`coverage` must be a float in (0, 1)"),
        ({"coverage": 0.999}, None, "`coverage` needs 999 held-out images or more"),
        ({"coverage": 0.9}, {"name": "unknown"}, "'unknown' needs the parameter `reject`"),
        (
            {"reject": 0.05},
            {"name": "unknown", "parameters": {"classification": 1}},
            "'unknown' takes no `classification`",
        ),
    ],
)
def test_wrong_rates(client, pixels, rates, wanted, word):
    content = {"inputs": [json_input(pixels[:1])], "parameters": rates}
    if wanted:
        content["outputs"] = [wanted]
    answer = client.post(INFER, content=json.dumps(content).encode())
    assert answer.status_code == 400
    assert word in answer.json()["error"]


def test_triton_gets_errors_as_texts(triton, pixels, picture):
    def error(model, tensor, **options):
        with pytest.raises(InferenceServerException) as caught:
            triton.infer(model, [tensor], **options)
        return caught.value.status(), caught.value.message()

    assert error("other", pixels_input(pixels)) == (
        "404",
        "there is no model 'other'; this server has 'colours'.",
    )
    status, message = error("colours", images_input([picture(), b"no picture"]))
    assert (status, message[:7]) == ("422", "image 1")
    wanted = [output("embeddings")]
    assert "no output 'embeddings'" in error("colours", pixels_input(pixels), outputs=wanted)[1]
    assert "[images, 16, 16, 3]" in error("colours", pixels_input(pixels[:, :8]))[1]


def test_tritons_asyncio_client(address, pixels, classifier):
    import tritonclient.http.aio

    async def infer():
        async with tritonclient.http.aio.InferenceServerClient(address) as client:
            inputs = [pixels_input(pixels)]
            return await asyncio.gather(*[client.infer("colours", inputs) for _ in range(8)])

    for result in asyncio.run(infer()):
        np.testing.assert_array_equal(result.as_numpy("logits"), classifier.predict_pixels(pixels))


INFER = "/v2/models/colours/infer"


def json_input(pixels):
    data = pixels.ravel().tolist()
    return {"name": "pixels", "datatype": "UINT8", "shape": list(pixels.shape), "data": data}


def test_json_by_hand(client, pixels, classifier, picture):
    expected = classifier.predict_pixels(pixels)
    for data in (pixels.tolist(), pixels.ravel().tolist()):  # nested and flat
        content = {
            "inputs": [{**json_input(pixels), "data": data}],
            "outputs": [{"name": "logits"}],
        }
        answer = client.post(INFER, json=content)
        assert answer.status_code == 200
        (tensor,) = answer.json()["outputs"]
        assert tensor["datatype"] == "FP32"
        assert tensor["shape"] == [5, 3]
        np.testing.assert_array_equal(np.float32(tensor["data"]).reshape(5, 3), expected)
    text = base64.b64encode(picture()).decode()
    images = {"name": "images", "datatype": "BYTES", "shape": [1], "data": [text]}
    answer = client.post(INFER, json={"inputs": [images]}).json()
    assert [each["name"] for each in answer["outputs"]] == ["logits", "probabilities"]
    assert answer["outputs"][1]["data"][0] > 0.5


BROKEN = {
    "no JSON": (b"{", "is not JSON"),
    "no UTF-8": (b"\xff", "is not JSON"),
    "deep": (b"[" * 100_000, "is not JSON"),
    "a list": ([], "must be a JSON object"),
    "no inputs": ({}, "`inputs`"),
    "empty inputs": ({"inputs": []}, "`inputs`"),
    "inputs of numbers": ({"inputs": [1]}, "a tensor must be a JSON object"),
    "no name": ({"inputs": [{"shape": [1]}]}, "`name`"),
    "outputs": ("outputs", {}, "`outputs`"),
    "output": ("outputs", [1], "an output"),
    "output without a name": ("outputs", [{}], "`name`"),
    "classification": (
        "outputs",
        [{"name": "logits", "parameters": {"classification": -1}}],
        "`classification`",
    ),
    "binary_data": (
        "outputs",
        [{"name": "logits", "parameters": {"binary_data": 1}}],
        "`binary_data`",
    ),
    "id": ("id", 7, "`id`"),
    "parameters": ("parameters", [], "`parameters`"),
    "shape": ("shape", "16", "`shape`"),
    "negative shape": ("shape", [-1, 16, 16, 3], "`shape`"),
    "true in the shape": ("shape", [True, 16, 16, 3], "`shape`"),
    "shape of another size": ("shape", [2, 16, 16, 3], "asks for 1536"),
    "huge shape": ("shape", [2**30, 2**30, 2**30], "asks for"),
    "nine dimensions": ("shape", [1] * 9, "`shape`"),
    "datatype": ("datatype", "FP32", "`datatype`"),
    "unknown name": ("name", "x", "'pixels' or 'images'"),
    "images of numbers": ("name", "images", "BYTES"),
    "no data": ("data", None, "whole numbers"),
    "a text": ("data", "abc", "whole numbers"),
    "texts": ("data", ["a"], "whole numbers"),
    "fractions": ("data", [0.5] * 768, "whole numbers"),
    "too large": ("data", [256] * 768, "whole numbers"),
    "negative": ("data", [-1] * 768, "whole numbers"),
    "endless": ("data", [10**400] * 768, "whole numbers"),
    "uneven": ("data", [[1], [1, 2]], "whole numbers"),
    "truths": ("data", [True] * 768, "whole numbers"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_requests(client, name):
    *changed, value, word = BROKEN[name]
    if changed:
        content = {"inputs": [json_input(np.zeros((1, 16, 16, 3), "uint8"))]}
        of_tensor = changed[0] in ("shape", "datatype", "name", "data")
        (content["inputs"][0] if of_tensor else content)[changed[0]] = value
        value = content
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    answer = client.post(INFER, content=body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert word in answer.json()["error"]


def binary_request(size, blob, datatype="UINT8", shape=(1, 16, 16, 3), length=None, **more):
    tensor = {"name": "pixels", "datatype": datatype, "shape": shape, **more}
    tensor["parameters"] = {"binary_data_size": size}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head) if length is None else length)}
    return {"content": head + blob, "headers": headers}


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        (binary_request(768, bytes(767)), "767 bytes are left"),
        (binary_request(768, bytes(769)), "1 bytes more"),
        (binary_request(767, bytes(767)), "767 values"),
        (binary_request(-1, b""), "`binary_data_size`"),
        (binary_request("1", b""), "`binary_data_size`"),
        (binary_request(768, bytes(768), data=[]), "without `data`"),
        (binary_request(768, bytes(768), length=10**9), "the body has"),
        (binary_request(768, bytes(768), length="x"), "must be a whole number"),
        (binary_request(768, bytes(768), length=3), "is not JSON"),
        (binary_request(3, b"\1\0\0", "BYTES", (1,)), "cut off"),
        (binary_request(5, b"\2\0\0\0a", "BYTES", (1,)), "cut off"),
        (binary_request(4, b"\xff" * 4, "BYTES", (1,)), "cut off"),
        (binary_request(0, b"", "BYTES", (1,)), "0 values"),
        (binary_request(0, b"", shape=(0, 16, 16, 3)), "at least one image"),
    ],
)
def test_broken_binary_requests(client, request_, word):
    answer = client.post(INFER, **request_)
    assert answer.status_code == 400
    assert word in answer.json()["error"]


def test_base64_that_is_none(client):
    for data in (["a"], ["a\n"], ["ä"], [1], "a", [["YQ=="]]):
        tensor = {"name": "images", "datatype": "BYTES", "shape": [1], "data": data}
        answer = client.post(INFER, json={"inputs": [tensor]})
        assert answer.status_code == 400
        assert "base64" in answer.json()["error"]


def test_too_many_images_and_bytes(client_of, classifier, pixels):
    client = client_of(classifier, ServerSettings(max_images=4, max_body_bytes=30_000))
    assert client.post(INFER, json={"inputs": [json_input(pixels[:4])]}).status_code == 200
    answer = client.post(INFER, json={"inputs": [json_input(pixels)]})
    assert answer.status_code == 413
    assert "at most 4" in answer.json()["error"]
    answer = client.post(INFER, content=bytes(30_001))
    assert answer.status_code == 413
