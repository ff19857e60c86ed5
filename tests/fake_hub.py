"""A Hugging Face Hub of this machine's own: as much of its API as an upload speaks, and a look at what arrives."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

TOKEN = "hf_" + "aGoodToken" * 3


@dataclass
class FakeHub:
    """What it holds, and how it fails."""

    address: str = ""
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    """LFS objects by their checksum."""
    fails: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By a part of the path: status and message. Status 0 cuts the connection."""
    asked: list[str] = field(default_factory=list)
    commits: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def _serve(self) -> None:
        path = self.path.partition("?")[0]
        body = self._body()
        self.hub.asked.append(f"{self.command} {path}")
        for part, (status, message) in self.hub.fails.items():
            if part in path:
                if not status:
                    self.close_connection = True
                    self.connection.close()
                    return
                self._answer({"error": message}, status, {"X-Error-Message": message})
                return
        if not path.startswith("/storage/") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer({"error": "Invalid credentials"}, 401, {"X-Error-Message": "Invalid credentials"})
            return
        self._answer(*self._found(path, body))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _found(self, path: str, body: bytes) -> tuple[Any, int]:  # noqa: PLR0911 - a return for each page
        hub, parts = self.hub, path.strip("/").split("/")
        if path == "/api/whoami-v2":
            return {"name": "me", "type": "user", "auth": {}}, 200
        if path == "/api/validate-yaml":
            head = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
            return {"errors": [] if isinstance(head, dict) else [{"message": "no mapping"}], "warnings": []}, 200
        if path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
            if repo in hub.repos:
                return {"error": "You already created this model repo", "url": f"{hub.address}/{repo}"}, 409
            hub.repos[repo], hub.private[repo] = {".gitattributes": b""}, bool(asked.get("private"))
            return {"url": f"{hub.address}/{repo}"}, 200
        if parts[:2] == ["api", "models"]:
            return self._of_repo("/".join(parts[2:4]), parts[4:], body)
        if path.endswith(".git/info/lfs/objects/batch"):
            return {"transfer": "basic", "objects": [self._action(each) for each in json.loads(body)["objects"]]}, 200
        if parts[0] == "storage":
            assert hashlib.sha256(body).hexdigest() == parts[1]
            hub.stored[parts[1]] = body
            return {}, 200
        assert parts[0] == "verify"
        return {}, 200 if json.loads(body)["oid"] in hub.stored else 404

    def _of_repo(self, repo: str, rest: list[str], body: bytes) -> tuple[Any, int]:
        hub = self.hub
        if repo not in hub.repos:
            return {"error": "Repository not found"}, 404
        if rest[:1] == ["tree"]:
            files = hub.repos[repo].items()
            return [{"type": "file", "path": name, "size": len(content), "oid": "0"} for name, content in files], 200
        if rest[:1] == ["preupload"]:
            asked = json.loads(body)["files"]
            return {"files": [{"path": each["path"], "shouldIgnore": False,
                               "uploadMode": "lfs" if each["path"].endswith((".safetensors", ".png")) else "regular"}
                              for each in asked]}, 200  # fmt: skip
        if rest[:1] == ["commit"]:
            for line in body.splitlines():
                self._commit(hub.repos[repo], json.loads(line))
            return {"commitUrl": f"{hub.address}/{repo}/commit/abc", "commitOid": "abc123", "success": True}, 200
        return {"id": repo, "siblings": [{"rfilename": name} for name in hub.repos[repo]], "xetEnabled": False}, 200

    def _commit(self, files: dict[str, bytes], line: dict[str, Any]) -> None:
        value = line["value"]
        if line["key"] == "header":
            self.hub.commits.append(value["summary"])
        elif line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            assert len(self.hub.stored[value["oid"]]) == value["size"]
            files[value["path"]] = self.hub.stored[value["oid"]]
        else:
            assert line["key"] == "deletedFile"
            del files[value["path"]]

    def _action(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["oid"] in self.hub.stored:
            return asked
        actions = {"upload": {"href": f"{self.hub.address}/storage/{asked['oid']}", "header": {}},
                   "verify": {"href": f"{self.hub.address}/verify/{asked['oid']}"}}  # fmt: skip
        return {**asked, "authenticated": True, "actions": actions}

    def _answer(self, found: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(found).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Type": "application/json",
                            "Content-Length": str(len(content))}.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def running() -> Iterator[FakeHub]:
    """A hub that answers within the block."""
    hub = FakeHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
