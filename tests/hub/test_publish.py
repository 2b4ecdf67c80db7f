"""What is published is the model and its card, and nothing else: a hub of this machine looks."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from opendet.hub.publish import publish
from tests.model.naming_worlds import export_named

CODE = """
import sys
from pathlib import Path
from opendet.hub.publish import publish
print(publish(Path(sys.argv[1]), "ada/owls", private=True))
"""


class Hub(ThreadingHTTPServer):
    """Takes what is committed to it, all of it as plain files."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.made: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path)
        if self.path == "/api/repos/create":
            self.server.made = json.loads(body)
            return self._say({"url": f"{self.server.address}/ada/owls"})
        if self.path == "/api/validate-yaml":
            return self._say({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in files
            ]
            return self._say({"files": modes})
        if "/commit/" in self.path:
            for line in body.splitlines():
                told = json.loads(line)
                if told["key"] == "file":
                    content = base64.b64decode(told["value"]["content"])
                    self.server.files[told["value"]["path"]] = content
            url = f"{self.server.address}/ada/owls/commit/{'a' * 40}"
            return self._say({"commitUrl": url, "commitOid": "a" * 40, "success": True})
        return self._say({"error": "no such place"}, 404)

    def _say(self, value: dict[str, Any], code: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *told: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def push(folder: Path, hub: Hub) -> "subprocess.CompletedProcess[str]":
    """In a process of its own: the hub's library reads its address when it is imported."""
    own = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_nobody"}
    return subprocess.run(
        [sys.executable, "-c", CODE, str(folder)],
        env={**os.environ, **own, "HF_HUB_DISABLE_XET": "1"},
        capture_output=True,
        text=True,
    )


def test_the_model_and_its_card_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    folder = export_named(tmp_path / "model")
    for name in ("notes.txt", ".env", "namer/token", "optimizer.safetensors"):
        (folder / name).write_text("a secret")
    ran = push(folder, hub)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == f"{hub.address}/ada/owls/commit/{'a' * 40}"
    assert hub.made["name"] == "owls"
    assert hub.made.get("private") or hub.made.get("visibility") == "private"
    card = hub.files.pop("README.md")
    assert card.startswith(b"---\n")
    belongs = {
        "config.json", "model.safetensors", "prototypes.json", "namer/namer.json",
        "namer/config.json", "namer/tokenizer.json", "namer/tokenizer_config.json",
    }  # fmt: skip
    assert hub.files == {name: (folder / name).read_bytes() for name in belongs}


def test_a_folder_that_is_no_model_asks_nothing_of_the_hub(hub: Hub, tmp_path: Path) -> None:
    ran = push(tmp_path, hub)
    assert "holds no model" in ran.stderr
    assert hub.asked == []


def test_offline_one_line_says_what_to_do(tmp_path: Path) -> None:
    folder = export_named(tmp_path / "model", t5=False)
    with pytest.raises(ValueError, match="could not be written on the hub") as caught:
        publish(folder, "ada/owls")
    assert "\n" not in str(caught.value)
    assert "hf auth whoami" in str(caught.value)
