"""The same pages from a server on loopback: made when asked for, for this machine alone."""

import gzip
import http.client
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from opendet.inspect.collection import open_collection
from opendet.pages.held import HeldPages
from opendet.pages.serve import PageServer
from opendet.pages.write import write_pages
from tests.pages.conftest import Visit
from tests.pages.page_world import MARKUP_KEY, shards


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    collection = open_collection(shards(tmp_path_factory.mktemp("served") / "toy"))
    with PageServer(collection, port=0, against=collection) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.05,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def ask(
    server: PageServer, path: str, *, method: str = "GET", host: str = ""
) -> tuple[http.client.HTTPResponse, bytes]:
    link = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    link.putrequest(method, path, skip_host=True)
    link.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    link.endheaders()
    response = link.getresponse()
    body = response.read()
    link.close()
    return response, body


def test_listens_on_this_machine_alone(server: PageServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_every_answer_has_the_policy(server: PageServer) -> None:
    for path in ("/", "/nowhere", "/data/a/collection.js"):
        response, _ = ask(server, path)
        policy = response.getheader("Content-Security-Policy", "")
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert response.getheader("X-Content-Type-Options") == "nosniff"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1.evil.example:80", "x"])
def test_another_name_is_refused(server: PageServer, host: str) -> None:
    response, body = ask(server, "/", host=host)
    assert response.status == 421
    assert b"toy" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nothing_but_reading(server: PageServer, method: str) -> None:
    assert ask(server, "/", method=method)[0].status == 501


def test_head_has_no_body(server: PageServer) -> None:
    response, body = ask(server, "/index.html", method="HEAD")
    assert response.status == 200
    assert int(response.getheader("Content-Length") or 0) > 500
    assert body == b""


@pytest.mark.parametrize(
    "path",
    [
        *("/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/assets/../x"),
        *("/assets/", "/data/a/9999/index.js", "/data/c/0000/index.js", "/data/a/0000/cards-9.js"),
        *("/pictures/a/0000/0/99999-small.jpg", "/pictures/a/0004/0/0-small.jpg", "/pool.html"),
        *("/pictures/a/0000/0/0-small.png", "/index.html%00", "/manifest.json"),
    ],
)
def test_what_is_not_of_the_pages_is_not_there(server: PageServer, path: str) -> None:
    assert ask(server, path)[0].status == 404


def test_pictures_are_cut_from_the_shard(server: PageServer) -> None:
    for size in ("small", "large"):
        response, body = ask(server, f"/pictures/a/0000/0/0-{size}.jpg")
        assert response.getheader("Content-Type") == "image/jpeg"
        assert body.startswith(b"\xff\xd8\xff")


def test_the_same_pages_as_written_ones(server: PageServer, tmp_path: Path) -> None:
    collection = server.pages.sides["a"].gathered.collection
    out = write_pages(collection, tmp_path / "pages", against=collection).out
    for thread in threading.enumerate():
        if thread.name == "reading pieces":
            thread.join(20)
    for path in ("index.html", "gallery.html", "compare.html", "data/comparison.js"):
        assert ask(server, f"/{path}")[1] == (out / path).read_bytes(), path


def test_the_gallery_works_served(server: PageServer, visit: Visit) -> None:
    page = visit.open(f"{server.address}gallery.html#sample={MARKUP_KEY}")
    page.wait_for_selector("dialog[open] .regions")
    assert len(visit.keys()) == 14
    assert visit.ask("window.planted") is None
    visit.wait("document.querySelector('.stage img').naturalWidth === 64")
    visit.wait("document.querySelector('.tile img').naturalWidth === 64")
    page.keyboard.press("ArrowRight")
    visit.wait("document.querySelector('.panel .key').textContent === 'a-0002'")


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    collection = open_collection(shards(tmp_path / "toy", 2))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"^port {port} is taken: name another one"):
            PageServer(collection, port=port)
    with pytest.raises(ValueError, match="there is no port 70000"):
        PageServer(collection, port=70000)


def test_what_is_not_whole_is_told_as_on_written_pages(tmp_path: Path) -> None:
    folder = shards(tmp_path / "toy")
    index = (folder / "a-000001.idx").read_text().splitlines()
    place = int(index[1].split()[1])  # of the first picture, whose header is harmed
    tar = folder / "a-000001.tar"
    content = bytearray(tar.read_bytes())
    content[place - 500 : place - 490] = b"\xff" * 10
    tar.write_bytes(content)
    (folder / "a-000001.idx").unlink()
    collection = open_collection(folder)
    out = write_pages(collection, tmp_path / "pages").out
    pages = HeldPages(collection)
    pages.read_all(threading.Event())
    served = pages.find("index.html")
    assert served
    assert "1 without a picture" in served.body.decode()
    assert served.body == (out / "index.html").read_bytes()
    script = pages.find("data/a/0001/index.js")
    assert script
    assert gzip.decompress(script.body) == (out / "data/a/0001/index.js").read_bytes()


def test_a_browser_that_turns_away_is_no_error(
    server: PageServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            link = socket.create_connection(("127.0.0.1", server.server_port))
            link.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % server.server_port)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            link.close()
        assert ask(server, "/")[0].status == 200
    assert caplog.records == []


def test_what_is_not_read_yet_is_said(tmp_path: Path) -> None:
    collection = open_collection(shards(tmp_path / "toy"))
    pages = HeldPages(collection, collection)
    waiting = pages.waiting
    for path in ("index.html", "compare.html"):
        page = pages.find(path)
        assert page
        assert f"Still reading: {waiting} pieces" in page.body.decode()
    assert pages.find("data/a/0001/index.js")  # read at once, out of turn
    assert pages.waiting == waiting - 1
    pages.read_all(threading.Event())
    page = pages.find("")
    assert page
    assert "Still reading" not in page.body.decode()
    assert pages.waiting == 0
