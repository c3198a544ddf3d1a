"""A stand-in for the server of W&B on this machine: what its real client sends is kept by run.

It answers the few questions of GraphQL that the client asks while it sends a run, and takes files
and streams of lines as the server does: a line has a number, and one that comes again replaces
itself.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VIEWER = {"id": "u", "entity": "me", "username": "me", "email": "", "flags": "{}"}
PROJECT = {"id": "p", "name": "p", "entity": {"id": "e", "name": "me"}}
ARTIFACT = {"id": "a", "versionIndex": 0}
# what an older server does not know either
UNSAID = ("query ServerFeatures", "organization", "query ArtifactFileURLs")
COMMITTED = {"id": "a", "state": "COMMITTED", "artifactSequence": {"latestArtifact": ARTIFACT}}


@dataclass
class KeptRun:
    """What the server has of a run: config, group and tags as last sent, and numbered lines."""

    sent: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)

    @property
    def summary(self) -> dict[str, Any]:
        """The last summary."""
        numbered = self.lines["wandb-summary.json"]
        return numbered[max(numbered)]

    def state(self, name: str) -> dict[str, Any]:
        """What a client is told that goes on with the run."""
        history = self.lines.get("wandb-history.jsonl", {})
        tail = [json.dumps(history[max(history)])] if history else []
        state = {"id": name, "name": name, "displayName": name, "notes": ""}
        state |= {"historyLineCount": len(history), "eventsLineCount": 0, "logLineCount": 0}
        state |= {"historyTail": json.dumps(tail), "eventsTail": "[]", "wandbConfig": "{}"}
        state |= {"summaryMetrics": json.dumps(self.summary), "config": self.sent["config"]}
        return state | {"tags": self.sent.get("tags", [])}

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, without the client's wrapping."""
        return {key: entry["value"] for key, entry in json.loads(self.sent["config"]).items()}


class WandbServer(ThreadingHTTPServer):
    """Runs by (project, id), and every question that it had no answer for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.runs: dict[tuple[str, str], KeptRun] = {}
        self.unanswered: list[str] = []

    @property
    def url(self) -> str:
        """Where it listens: WANDB_BASE_URL."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, question: str, given: dict[str, Any]) -> dict[str, Any]:
        """Answer a question of GraphQL."""
        if "upsertBucket(" in question:
            run = self.runs.setdefault((given["project"], given["name"]), KeptRun())
            run.sent |= {key: value for key, value in given.items() if value is not None}
            bucket = {"id": given["name"], "name": given["name"], "config": "{}"}
            bucket |= {
                "displayName": given["name"],
                "project": PROJECT | {"name": given["project"]},
            }
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if "createRunFiles(" in question:
            self.runs[given["project"], given["run"]].files |= set(given["files"])
            places = [{"name": n, "uploadUrl": f"{self.url}/storage/{n}"} for n in given["files"]]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": places}}
        if "query RunResumeStatus" in question:
            kept = self.runs.get((given["project"], given["name"]))
            bucket = kept.state(given["name"]) if kept else None
            return {"model": PROJECT | {"name": given["project"], "bucket": bucket}}
        if "createArtifact(" in question:
            return {"createArtifact": {"artifact": COMMITTED}}
        if "query Viewer" in question:
            return {"viewer": VIEWER | {"teams": {"edges": []}}}
        if "query ArtifactType" in question:
            return {"project": {"artifact": None}}
        if not any(name in question for name in UNSAID):
            self.unanswered.append(question)
        return {}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has gone; all else is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: WandbServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer GraphQL, and keep the lines of a stream."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        given = json.loads(body)
        if self.path.endswith("/file_stream"):
            _, _, _, project, name, _ = self.path.split("/")
            run = self.server.runs[project, name]
            for file, part in (given.get("files") or {}).items():
                for number, line in enumerate(part["content"], part["offset"]):
                    text = json.loads(line) if file.endswith(("jsonl", "json")) else line
                    run.lines.setdefault(file, {})[number] = text
            self.reply({})
        else:
            self.reply({"data": self.server.answer(given["query"], given.get("variables") or {})})

    def do_PUT(self) -> None:
        """Take a file."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.reply({})

    def reply(self, content: dict[str, Any]) -> None:
        """Send JSON."""
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def wandb_server() -> Iterator[WandbServer]:
    """Run the stand-in."""
    server = WandbServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
