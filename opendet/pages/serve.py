"""The pages served to this machine alone, for collections too large to write pages of.

Whoever can open a page can read what is served, so only this machine's own address is listened at,
and a question that came under another name is refused: a foreign page may have its own name lead
here (DNS rebinding), but cannot change the name that the browser writes into `Host`.
"""

import errno
import logging
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from opendet.inspect.collection import Collection
from opendet.pages.held import Content, HeldPages
from opendet.pages.render import POLICY

log = logging.getLogger(__name__)

_ADDRESS = "127.0.0.1"
_SILENCE_S = 60
"""After which a connection without a question is let go."""


class PageServer(ThreadingHTTPServer):
    """Listens from its construction, and answers within `serve_forever`. With port 0 a free one is
    taken. Raises ValueError, in one line, for a port that cannot be had."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self, collection: Collection, *, port: int, against: Collection | None = None
    ) -> None:
        if not 0 <= port <= 65535:
            raise ValueError(f"there is no port {port}: name one from 1024 to 65535, or 0 for any")
        self._stop = threading.Event()
        try:
            super().__init__((_ADDRESS, port), _Handler)
        except OSError as error:
            raise ValueError(_why_not(port, error)) from error
        self.pages = HeldPages(collection, against)
        self._reading = threading.Thread(
            target=self.pages.read_all, args=(self._stop,), daemon=True, name="reading pieces"
        )
        self._reading.start()

    @property
    def address(self) -> str:
        return f"http://{_ADDRESS}:{self.server_port}/"

    def server_close(self) -> None:
        self._stop.set()
        super().server_close()

    def knows(self, host: str) -> bool:
        """Whether a `Host` header names this server by an address of this machine."""
        return host.lower() in {f"{name}:{self.server_port}" for name in (_ADDRESS, "localhost")}

    def handle_error(self, *_: object) -> None:
        """A browser that turns away in the middle of an answer is no error of ours."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            log.exception("an answer failed")


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"
    timeout = _SILENCE_S
    server_version, sys_version = "Open-Det", ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        if not self.server.knows(self.headers.get("Host", "")):
            status, content = HTTPStatus.MISDIRECTED_REQUEST, _plain("ask for 127.0.0.1")
        else:
            found = self.server.pages.find(urlsplit(self.path).path.removeprefix("/"))
            status = HTTPStatus.OK if found else HTTPStatus.NOT_FOUND
            content = found or _plain("nothing is here")
        self.send_response(status)
        self.send_header("Content-Type", _typed(content.kind))
        self.send_header("Content-Length", str(len(content.body)))
        if content.compressed:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Cache-Control", "max-age=3600" if content.lasting else "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(content.body)

    def end_headers(self) -> None:
        """With errors, too."""
        self.send_header("Content-Security-Policy", f"{POLICY}; frame-ancestors 'none'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        log.debug(format, *args)


def _plain(text: str) -> Content:
    return Content(f"{text}\n".encode(), "text/plain")


def _typed(kind: str) -> str:
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def _why_not(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken: name another one, or 0 for any that is free"
    if error.errno == errno.EACCES:
        return f"port {port} is not for you: name one from 1024 to 65535, or 0 for any"
    return f"port {port} cannot be had: {error.strerror}"
