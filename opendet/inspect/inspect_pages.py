"""What `opendet inspect` does with pages: writes them, serves them, opens them in a browser."""

import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import typer

from opendet.console import dress_logging, say_wrong
from opendet.inspect.collection import Collection
from opendet.pages.serve import PageServer
from opendet.pages.write import write_pages


def show_pages(
    collection: Collection,
    against: Collection | None,
    *,
    html: Path | None,
    port: int | None,
    opens: bool,
    processes: int | None,
) -> Sequence[str]:
    """Write the pages where `html` names a folder; serve them where there is a port."""
    dress_logging()
    troubles = []
    if html is not None:
        account = write_pages(collection, html, against=against, processes=processes)
        rate = account.samples / max(account.seconds, 1e-3)
        typer.echo(
            f"{account.index}: {account.samples} samples, {account.gone} that left the flow, "
            f"{account.pictures} pictures; {account.seconds:.1f} s, {rate:.0f} samples/s"
        )
        if account.troubles:
            told = "the page's overview and `opendet inspect` without --html name them"
            troubles.append(f"{collection.name}: {account.troubles} things are not whole: {told}")
        if opens and port is None:
            _open(account.index.absolute().as_uri())
    if port is not None:
        for line in collection.troubles:  # now, for a server ends when somebody has seen enough
            say_wrong(line)
        _serve(collection, against, port, opens=opens)
    return troubles


def _serve(collection: Collection, against: Collection | None, port: int, *, opens: bool) -> None:
    with PageServer(collection, port=port, against=against) as server:
        typer.echo(f"{server.address} shows {collection.name}; Ctrl-C ends it")
        if opens:
            _open(server.address)
        with suppress(KeyboardInterrupt):
            server.serve_forever(poll_interval=0.2)


def _open(address: str) -> None:
    if not webbrowser.open(address):
        say_wrong(f"no browser answers here: open {address} yourself")
