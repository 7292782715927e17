"""As much of the Hugging Face hub as an upload needs, on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OWNER = "somebody"


class Hub(ThreadingHTTPServer):
    """A hub with one user.

    Attributes
    ----------
    token : str
        The one token that it knows; `writes` says whether it may write.
    repos : dict of str to bool
        Whether each repository is private.
    files : dict of (str, str) to bytes
        Content by repository and path.
    asked : list of (str, str, str)
        Method, path and Authorization header of each request.
    fails : dict of str to int
        The status with which requests are refused whose path has this part.
    """

    daemon_threads = True

    def __init__(self, token: str) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.token, self.writes = token, True
        self.repos: dict[str, bool] = {}
        self.files: dict[tuple[str, str], bytes] = {}
        self.stored: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.fails: dict[str, int] = {}
        self.address = f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    """Answers requests as the hub does."""

    server: Hub

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    def answer(self) -> None:
        hub, path = self.server, self.path.partition("?")[0]
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub.asked.append((self.command, path, self.headers.get("Authorization") or ""))
        for part, status in hub.fails.items():
            if part in path:
                return self.say(status, {"error": f"out of order: {self.headers.get('Authorization')}"})
        if self.command == "PUT":
            oid = path.rpartition("/")[2]
            if hashlib.sha256(body).hexdigest() != oid:
                return self.say(400, {"error": "another content"})
            hub.stored[oid] = body
            return self.say(200, {})
        if self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.say(401, {"error": "Invalid username or password."})
        if self.command == "POST" and not hub.writes:
            return self.say(403, {"error": "You don't have the rights to do this."})
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            return self.say(200, {"errors": [], "warnings": []})
        if path.endswith("/info/lfs/objects/batch"):
            return self.batch(json.loads(body))
        if path == "/verify":
            known = json.loads(body)["oid"] in hub.stored
            return self.say(200 if known else 404, {})
        _, _, _, owner, name, *rest = path.split("/")
        repo = f"{owner}/{name}"
        if repo not in hub.repos:
            return self.say(404, {"error": "Repository not found"})
        if not rest:
            return self.say(200, {"id": repo, "private": hub.repos[repo], "sha": "1" * 40, "siblings": [], "tags": []})
        if rest[0] == "preupload":
            found = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for one in json.loads(body)["files"]
            ]
            return self.say(200, {"files": found})
        assert rest[0] == "commit", path
        for line in body.splitlines():
            self.commit(repo, json.loads(line))
        return self.say(200, {"commitUrl": f"{hub.address}/{repo}/commit/{'2' * 40}", "commitOid": "2" * 40})

    def create(self, wanted: dict[str, Any]) -> None:
        repo = f"{wanted['organization'] or OWNER}/{wanted['name']}"
        if repo in self.server.repos:
            return self.say(
                409, {"error": "You already created this model repo", "url": f"{self.server.address}/{repo}"}
            )
        # By either of the two names that versions of the client have for it.
        self.server.repos[repo] = wanted.get("visibility") == "private" or wanted.get("private") is True
        return self.say(200, {"url": f"{self.server.address}/{repo}"})

    def batch(self, wanted: dict[str, Any]) -> None:
        address = self.server.address
        found = [
            {
                **one,
                "actions": {"upload": {"href": f"{address}/lfs/{one['oid']}"}, "verify": {"href": f"{address}/verify"}},
            }
            for one in wanted["objects"]
        ]
        self.say(200, {"transfer": "basic", "objects": found})

    def commit(self, repo: str, line: dict[str, Any]) -> None:
        value, files = line["value"], self.server.files
        if line["key"] == "file":
            files[repo, value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            files[repo, value["path"]] = self.server.stored[value["oid"]]

    def say(self, status: int, value: dict[str, Any]) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def serve(token: str) -> Iterator[Hub]:
    """Serve a hub while the block lasts."""
    with Hub(token) as hub:
        thread = threading.Thread(target=hub.serve_forever)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
