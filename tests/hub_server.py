"""A Hugging Face hub of local folders, with what `huggingface_hub` asks to fetch and to push."""

import base64
import hashlib
import http.server
import json
import threading
from contextlib import contextmanager

COMMIT = "0123456789" * 4
TOKEN = "hf_of_ada"


class Hub(http.server.ThreadingHTTPServer):
    """The hub.

    `models` are its folders by name, `private` the names of private ones. `fetched` are the names
    of files that were asked for, `asked` the paths of all requests. `fails_at` is a part of a path
    at which the connection breaks.
    """

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.models, self.commits, self.branches = {}, {}, {}
        self.private, self.large = set(), {}
        self.fetched, self.asked = [], []
        self.fails_at = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def commit_of(self, name):
        """Changes with the content, as a commit does; constant for what no test pushed."""
        return self.commits.get(name, COMMIT)

    def close(self):
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def do_PUT(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def answer(self):
        body = self.body()
        path = self.path.partition("?")[0].removeprefix("/")
        hub = self.server
        hub.asked.append(f"{self.command} /{path}")
        if hub.fails_at and hub.fails_at in path:
            self.close_connection = True
            return
        is_mine = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if self.command == "POST" and not is_mine and not path.startswith("api/validate-yaml"):
            self.reply(401, b'{"error": "Invalid credentials"}')
        elif path == "api/repos/create":
            self.create(json.loads(body))
        elif path == "api/validate-yaml":
            self.reply_json({"errors": [], "warnings": []})
        elif path.startswith("large/"):
            hub.large[path.removeprefix("large/")] = body
            self.reply(200, b"")
        else:
            self.answer_of_model(path.removeprefix("api/models/"), body, is_mine)

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def answer_of_model(self, path, body, is_mine):
        hub = self.server
        name = "/".join(path.split("/")[:2]).removesuffix(".git")
        kind, *rest = path.split("/")[2:] or [""]
        if name not in hub.models or (name in hub.private and not is_mine):
            self.reply(404, b"", "RepoNotFound")
        elif kind == "branch":
            hub.branches.setdefault(name, set()).add(rest[0])
            self.reply_json({})
        elif kind == "preupload":
            files = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(".h5") else "regular",
                    "shouldIgnore": False,
                    "oid": None,
                }
                for each in json.loads(body)["files"]
            ]
            self.reply_json({"files": files})
        elif kind == "info":  # of large files
            objects = [
                {**each, "actions": {"upload": {"href": f"{hub.url}/large/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self.reply_json({"transfer": "basic", "objects": objects})
        elif kind == "commit":
            self.commit(name, body.decode().splitlines())
        elif rest and not self.knows(name, rest[0]):
            self.reply(404, b"", "RevisionNotFound")
        elif kind == "resolve":
            self.resolve(hub.models[name] / "/".join(rest[1:]), name)
        else:
            self.list(name, kind)

    def knows(self, name, revision):
        hub = self.server
        return revision in {"main", hub.commit_of(name), *hub.branches.get(name, ())}

    def create(self, asked):
        hub = self.server
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] == "eve":
            self.reply(403, b'{"error": "You do not have the rights"}')
            return
        if name in hub.models:
            self.reply_json({"url": f"{hub.url}/{name}"}, 409)
            return
        hub.models[name] = hub.folder / name
        hub.models[name].mkdir(parents=True)
        (hub.models[name] / ".gitattributes").write_text("")
        if asked.get("visibility") == "private" or asked.get("private"):
            hub.private.add(name)
        self.reply_json({"url": f"{hub.url}/{name}"})

    def commit(self, name, lines):
        hub = self.server
        for line in map(json.loads, lines):
            value = line["value"]
            if line["key"] == "deletedFile":
                (hub.models[name] / value["path"]).unlink()
            if line["key"] in ("file", "lfsFile"):
                content = (
                    base64.b64decode(value["content"])
                    if line["key"] == "file"
                    else hub.large[value["oid"]]
                )
                path = hub.models[name] / value["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        hub.commits[name] = hashlib.sha1("".join(lines).encode()).hexdigest()
        oid = hub.commits[name]
        self.reply_json({"commitUrl": f"{hub.url}/{name}/commit/{oid}", "commitOid": oid})

    def resolve(self, file, name):
        if not file.is_file():
            self.reply(404, b"", "EntryNotFound")
            return
        if self.command == "GET":
            self.server.fetched.append(file.name)
        self.reply(200, file.read_bytes(), commit=self.server.commit_of(name))

    def list(self, name, kind):
        folder = self.server.models[name]
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in files]
        tree = [
            {"type": "file", "path": name, "size": file.stat().st_size, "oid": COMMIT}
            for name, file in zip(names, files, strict=True)
        ]
        siblings = [{"rfilename": name} for name in names]
        info = {
            "id": name,
            "sha": self.server.commit_of(name),
            "siblings": siblings,
            "private": name in self.server.private,
        }
        self.reply_json(tree if kind == "tree" else info)

    def reply_json(self, content, status=200):
        self.reply(status, json.dumps(content).encode())

    def reply(self, status, content, error="", commit=COMMIT):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def running_hub(folder, monkeypatch):
    """Runs a hub without models, whose cache has no files, for one who is logged in."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    server = Hub(folder / "hub")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "no token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    # Xet, which has a server of its own.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    # It waits before it asks again.
    monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)
    try:
        yield server
    finally:
        server.close()
