"""`POST /predict`."""

import io

import pytest
from hostile_files import write_hostile_files

from keras_cmm_server import ServerSettings


def test_a_raw_body(client, classifier, picture):
    answer = client.post("/predict", content=picture(), headers={"Content-Type": "image/png"})
    assert answer.status_code == 200
    content = answer.json()
    assert content["model"] == "colours"
    (image,) = content["images"]
    (expected,) = classifier.probabilities(classifier.predict([picture()])).tolist()
    assert [each["class"] for each in image["predictions"]] == ["red", "blue", "green"]
    best = [each["probability"] for each in image["predictions"]]
    assert best == pytest.approx(sorted(expected, reverse=True), abs=1e-6)


@pytest.mark.parametrize(
    "kind", ["application/octet-stream", "application/x-www-form-urlencoded", None]
)
def test_raw_bodies_of_other_types(client, picture, kind):
    headers = {"Content-Type": kind} if kind else {}
    assert client.post("/predict", content=picture(), headers=headers).status_code == 200


def test_files_of_a_form_in_their_order(client, picture):
    colours = {"r.png": (255, 0, 0), "g.png": (0, 255, 0), "b.png": (0, 0, 255)}
    files = [("file", (name, picture(colour))) for name, colour in colours.items()]
    answer = client.post("/predict", files=files, data={"top_k": "1"}).json()
    found = [(each["image"], each["predictions"][0]["class"]) for each in answer["images"]]
    assert found == [("r.png", "red"), ("g.png", "green"), ("b.png", "blue")]
    assert all(len(each["predictions"]) == 1 for each in answer["images"])


def test_top_k_in_the_query_and_more_than_there_are(client, picture):
    for top_k, number in ((2, 2), (50, 3)):
        answer = client.post(f"/predict?top_k={top_k}", content=picture())
        assert len(answer.json()["images"][0]["predictions"]) == number


@pytest.mark.parametrize("top_k", ["0", "-1", "x", "1.5", "", "²"])
def test_a_wrong_top_k(client, picture, top_k):
    for answer in (
        client.post("/predict", params={"top_k": top_k}, content=picture()),
        client.post("/predict", files={"file": picture()}, data={"top_k": top_k}),
    ):
        assert answer.status_code == 400
        assert "`top_k` must be one whole number >= 1" in answer.json()["error"]


def test_reject_and_coverage_are_as_of_the_classifier(client, classifier, picture):
    pictures = [picture(), picture((90, 90, 90)), picture((90, 110, 20))]
    files = [("file", (f"{number}.png", data)) for number, data in enumerate(pictures)]
    found = []
    for rates in ({}, {"reject": 0.05}, {"coverage": 0.9}, {"reject": 0.05, "coverage": 0.9}):
        expected = classifier.named(classifier.predict(pictures), **rates)
        names = [[name for name, _ in classes] for classes in expected]
        for options in ({"params": rates}, {"data": rates}):  # in the query and in the form
            answer = client.post("/predict", files=files, **options)
            assert answer.status_code == 200, answer.text
            for image, classes in zip(answer.json()["images"], expected, strict=True):
                got = [(each["class"], each["probability"]) for each in image["predictions"]]
                # A batch of another size may round differently.
                assert dict(got) == pytest.approx(dict(classes), abs=1e-6)
                assert list(dict(got)) == list(dict(classes))
        found.append(names)
    plain, rejected, sets, both = found
    assert rejected == [plain[0], ["unknown"], plain[2]]
    assert [len(classes) for classes in sets] == [1, 3, 2]
    assert both == [sets[0], ["unknown"], sets[2]]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"reject": "x"}, "`reject` must be one number. Received: 'x'"),
        ({"reject": ""}, "`reject` must be one number. Received: ''"),
        ({"coverage": ["0.8", "0.9"]}, "`coverage` must be one number. Received: '0.8', '0.9'"),
        ({"reject": "1"}, "`reject` must be a float in (0, 1). Received: reject=1.0"),
        ({"reject": "nan"}, "`reject` must be a float in (0, 1)"),
        ({"coverage": "0"}, "`coverage` must be a float in (0, 1)"),
        ({"reject": "0.001"}, "`reject` needs 999 held-out images or more, and there are 99"),
        ({"coverage": "0.9", "top_k": "2"}, "`top_k` and `coverage` exclude each other"),
    ],
)
def test_wrong_rates(client, options, word):
    for arguments in (
        {"params": options, "content": b"no picture"},  # told before it is read
        {"files": {"file": b"no picture"}, "data": options},
    ):
        answer = client.post("/predict", **arguments)
        assert answer.status_code == 400
        assert word in answer.json()["error"]


def test_rates_of_a_model_that_was_not_calibrated(client, classifier, picture, monkeypatch):
    monkeypatch.setattr(classifier, "held_out_scores", None)
    answer = client.post("/predict?reject=0.05", content=picture())
    assert answer.status_code == 400
    assert "does not know how sure it is of new images" in answer.json()["error"]
    assert client.post("/predict", content=picture()).status_code == 200


def test_what_is_no_upload(client, picture):
    def error(status, **arguments):
        answer = client.post("/predict", **arguments)
        assert answer.status_code == status
        assert list(answer.json()) == ["error"]
        return answer.json()["error"]

    assert "empty" in error(400, content=b"")
    assert "has no file" in error(400, files={"top_k": (None, "2")})
    assert "unknown field 'path'" in error(
        400, files={"file": picture()}, data={"path": "/etc/passwd"}
    )
    assert "unknown name 'path'" in error(400, params={"path": "x"}, content=picture())
    assert "'application/json' is not taken" in error(415, json={"path": "/etc/passwd"})
    form = {"Content-Type": "multipart/form-data"}
    assert "boundary" in error(400, content=b"x", headers=form)
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    assert "form cannot be read" in error(400, content=b"--y\r\nno form", headers=form)
    assert "compressed" in error(415, content=b"x", headers={"Content-Encoding": "gzip"})


def test_hostile_files_get_one_clear_error(client, tmp_path):
    """Every damaged file: 4xx, one JSON error, no traceback and no path of the server."""
    refused = 0
    for path in write_hostile_files(tmp_path):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > 2**24:
            continue
        data = path.read_bytes()
        forms = {"files": {"file": ("upload.jpg", data)}}, {"content": data}
        for arguments in forms:
            answer = client.post("/predict", **arguments)
            assert 400 <= answer.status_code < 500, path
            error = answer.json()["error"]
            assert list(answer.json()) == ["error"]
            assert "\n" not in error
            assert "Traceback" not in error
            assert str(tmp_path) not in error
            assert "site-packages" not in error
            refused += 1
    assert refused > 60
    # The server is as before.
    assert client.get("/v2/health/ready").status_code == 200


def test_one_bad_file_is_named(client, picture):
    files = [("file", ("good.png", picture())), ("file", ("bad\n.png", b"text"))]
    answer = client.post("/predict", files=files)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("bad")
    assert "no known image format" in answer.json()["error"]


def test_limits(client_of, classifier, picture):
    settings = ServerSettings(max_images=2, max_pixels=1000, max_body_bytes=20_000)
    client = client_of(classifier, settings)
    assert client.post("/predict", content=picture(size=(20, 50))).status_code == 200

    def too_large(**arguments):
        answer = client.post("/predict", **arguments)
        assert answer.status_code == 413
        return answer.json()["error"]

    assert "1,000 pixels" in too_large(content=picture(size=(20, 51)))
    assert "20,000 bytes" in too_large(content=bytes(20_001))

    def chunks():  # without a Content-Length
        for _ in range(30):
            yield bytes(1000)

    assert "20,000 bytes" in too_large(content=chunks())
    three = [("file", (f"{number}.png", picture())) for number in range(3)]
    assert "at most 2" in too_large(files=three)
    assert "at most 2" in too_large(files=three * 9)


def test_uploads_are_not_written_to_the_disk(client, monkeypatch):
    import tempfile

    def refuse(*args, **kwargs):
        raise AssertionError("a file was written")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    files = {"file": io.BytesIO(bytes(3 * 2**20))}
    assert client.post("/predict", files=files).status_code == 422


def test_get_and_unknown_paths(client):
    assert client.get("/predict").status_code == 405
    assert "GET is not taken" in client.get("/predict").json()["error"]
    for path in ("/", "/favicon.ico", "/static/../../etc/passwd", "/%2e%2e/etc/passwd"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "/openapi.json" in answer.json()["error"]


def test_no_cors(client, picture):
    headers = {"Origin": "https://evil.example"}
    answer = client.post("/predict", content=picture(), headers=headers)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert client.options("/predict", headers=headers).status_code == 405


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("127.0.0.1:9", 200),
        ("[::1]:8000", 200),
        ("[::1]", 200),
        ("evil.example", 421),
        ("evil.example:8000", 421),
        ("localhost.evil.example", 421),
    ],
)
def test_a_browser_cannot_be_led_here_under_another_name(client, host, status):
    assert client.get("/v2", headers={"Host": host}).status_code == status


def test_any_name_where_all_are_allowed(client_of, classifier):
    client = client_of(classifier, ServerSettings(allowed_hosts=None))
    assert client.get("/v2", headers={"Host": "example.com"}).status_code == 200
