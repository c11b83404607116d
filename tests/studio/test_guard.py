"""Who may talk to the studio."""

import pytest

from keras_cmm_studio.guard import COOKIE

OWN = "http://127.0.0.1:8400"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8400", "127.0.0.1.evil.com", ""])
def test_a_name_that_leads_here_by_dns_is_refused(client_of, host):
    answer = client_of().get("/api/state", headers={"host": host})
    assert answer.status_code == 421


@pytest.mark.parametrize("host", ["localhost:8400", "127.0.0.1:8400", "[::1]:8400"])
def test_the_names_of_this_machine_are_taken(client_of, host):
    assert client_of().get("/api/state", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},  # as a form of another site in an old browser
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1:8400.evil.example"},
        {"sec-fetch-site": "cross-site", "x-keras-cmm-studio": "1"},
        {"origin": OWN, "sec-fetch-site": "same-site"},
    ],
)
def test_another_site_can_change_nothing(client_of, project, headers):
    client = client_of()
    answer = client.post("/api/classes", json={"names": ["a"]}, headers=headers)
    assert answer.status_code == 403
    assert project.state.classes == ()


@pytest.mark.parametrize("headers", [{"origin": OWN}, {"x-keras-cmm-studio": "1"}])
def test_the_page_and_own_programs_can(client_of, project, headers):
    answer = client_of().post("/api/classes", json={"names": ["a"]}, headers=headers)
    assert answer.status_code == 200
    assert project.state.class_names == ["a"]


def test_another_site_can_read_nothing(client_of):
    client = client_of()
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert client.get("/api/state", headers=headers).status_code == 403
    answer = client.options("/api/state", headers={"origin": "http://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
    # A link to the page is no harm.
    assert client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200


def test_the_page_runs_no_script_but_its_own(client_of):
    answer = client_of().get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<script>" not in answer.text
    assert " style=" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


class TestToken:
    @pytest.fixture
    def client(self, client_of):
        return client_of(base="http://192.0.2.7:8400", allowed_hosts=None, token="secret")

    @pytest.mark.parametrize("path", ["/", "/api/state", "/static/main.js", "/?token=x"])
    def test_nothing_is_answered_without_it(self, client, path):
        answer = client.get(path)
        assert answer.status_code == 403
        assert "secret" not in answer.text

    def test_it_goes_from_the_address_into_a_cookie(self, client):
        answer = client.get("/?token=secret", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert client.get("/api/state").status_code == 200

    def test_a_program_sends_it_as_bearer(self, client):
        right, wrong = ({"authorization": f"Bearer {each}"} for each in ("secret", "other"))
        assert client.get("/api/state", headers=right).status_code == 200
        assert client.get("/api/state", headers=wrong).status_code == 403

    def test_a_cookie_does_not_excuse_another_origin(self, client, project):
        client.cookies.set(COOKIE, "secret")
        evil = {"origin": "http://evil.example"}
        assert client.post("/api/undo", headers=evil).status_code == 403
        own = {"origin": "http://192.0.2.7:8400"}
        assert client.post("/api/classes", json={"names": ["a"]}, headers=own).status_code == 200

    def test_odd_cookies_are_no_error(self, client):
        for cookie in (f"{COOKIE}=\xe9", "a b;;=", f"{COOKIE}"):
            headers = {"cookie": cookie.encode("latin-1")}
            assert client.get("/api/state", headers=headers).status_code == 403
