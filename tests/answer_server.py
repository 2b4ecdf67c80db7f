"""A real OpenAI-compatible server on loopback that can be told to fail, stall, drop and lie."""

import base64
import io
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image


@dataclass
class Asked:
    """One request, as it came over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any = None

    @property
    def prompt(self) -> str:
        return next(part["text"] for part in self.body["messages"][0]["content"] if "text" in part)

    @property
    def image_url(self) -> str:
        content = self.body["messages"][0]["content"]
        return next(part["image_url"]["url"] for part in content if "image_url" in part)

    @property
    def image(self) -> Image.Image:
        encoded = self.image_url.partition(",")[2]
        return Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)))


@dataclass
class Says:
    """One reply. What is not JSON is given as bytes."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    stall_s: float = 0.0
    """Silence before the first byte."""
    drop: bool = False
    """Reset the connection in place of a reply."""
    cut_at: int | None = None
    """Close after so many bytes of the body, though the header promised all of them."""
    drip: bytes = b""
    """Sent again and again for ever, after a header without a length."""


def completion(content: Any, finish_reason: str | None = "stop", **message: Any) -> Says:
    told = {"role": "assistant", "content": content, **message}
    return Says({"choices": [{"index": 0, "message": told, "finish_reason": finish_reason}]})


def error(status: int, words: str, **headers: str) -> Says:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Says({"error": {"message": words, "code": status}}, status, named)


def models(*names: str, **more: Any) -> Says:
    return Says({"object": "list", "data": [{"id": name, **more} for name in names]})


Plan = Callable[[Asked, int], Says]
"""The reply to a question, from the request and how often that prompt has been asked before."""


class AnswerServer(ThreadingHTTPServer):
    """Keeps what it was asked. `models` is what it says to GET /models."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, plan: Plan, listing: Says, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.plan, self.listing = plan, listing
        self.asked: list[Asked] = []
        self.open = self.most_open = 0
        self.lock = threading.Lock()
        self.ended = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def questions(self) -> list[Asked]:
        return [one for one in self.asked if one.method == "POST"]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves early is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AnswerServer

    def do_GET(self) -> None:
        self._note(None)
        listed = self.path == "/v1/models"
        self._say(self.server.listing if listed else error(404, "Not Found"))

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        asked, before = self._note(json.loads(content))
        with self.server.lock:
            self.server.open += 1
            self.server.most_open = max(self.server.most_open, self.server.open)
        try:
            says = self.server.plan(asked, before)
            if says.stall_s:
                self.server.ended.wait(says.stall_s)
        finally:
            with self.server.lock:
                self.server.open -= 1
        self._say(says)

    def _note(self, body: Any) -> tuple[Asked, int]:
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, body)
        with self.server.lock:
            before = sum(
                one.body is not None and body is not None and one.prompt == asked.prompt
                for one in self.server.asked
            )
            self.server.asked.append(asked)
        return asked, before

    def _say(self, says: Says) -> None:
        if says.drop:
            linger = struct.pack("ii", 1, 0)  # a reset in place of an orderly end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()
            return
        body = says.body if isinstance(says.body, bytes) else json.dumps(says.body).encode()
        self.send_response(says.status)
        for name, value in {"content-type": says.kind, **says.headers}.items():
            self.send_header(name, value)
        if says.drip:
            self.close_connection = True
            self.send_header("connection", "close")
            self.end_headers()
            while not self.server.ended.wait(0.01):
                self.wfile.write(says.drip)
            return
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: says.cut_at])
        self.close_connection = self.close_connection or says.cut_at is not None

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Tests say what they find."""


@contextmanager
def answering(plan: Plan, listing: Says | None = None, port: int = 0) -> Iterator[AnswerServer]:
    """A server on loopback, by default on a free port, for as long as the block lasts."""
    server = AnswerServer(plan, listing or models("tiny-vlm"), port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
