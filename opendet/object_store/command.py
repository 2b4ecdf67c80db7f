"""The commands `opendet data publish` and `fetch`. Light to import: heavy things wait."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from opendet.build import Build
    from opendet.object_store.store import Store

Address = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS", help="s3://bucket/prefix, gs://bucket/prefix, file:///folder, ..."
    ),
]
Transfers = Annotated[
    int, typer.Option(min=1, max=64, help="Files on their way at once; one takes up to 64 MiB.")
]


def publish_data(
    address: Address,
    build: Annotated[
        str,
        typer.Option("--build", help="A name of configs/; else the one that params.yaml chooses."),
    ] = "",
    stage: Annotated[str, typer.Option(help="Whose output; each has an address.")] = "shards",
    transfers: Transfers = 8,
    verify: Annotated[
        bool, typer.Option("--verify", help="Look again at what earlier publications have sent.")
    ] = False,
) -> None:
    """Put a build's shards into an object store, whole: readers see the old version or the new.

    [cyan]opendet data publish s3://bucket/demo --build demo[/cyan]

    What is there is not sent again; killed, the next run sends what is missing. Credentials
    and endpoint are the environment's: [cyan]AWS_PROFILE[/cyan], [cyan]AWS_ENDPOINT_URL[/cyan].
    """
    from opendet.build import Build
    from opendet.console import dress_logging, interrupt_on_sigterm, printable
    from opendet.object_store.publish import publish
    from opendet.object_store.store import open_store
    from opendet.stage_order import known_stage

    dress_logging()
    interrupt_on_sigterm()
    store, opened = open_store(address), Build.open(build)
    _require_lasting(store, opened)
    folder = opened.stage_folder(known_stage(stage))
    done = publish(folder, store, transfers=transfers, verify=verify)
    typer.echo(
        printable(
            f"{store.address}: version {done.version}, {_counted(done.parts)}; {done.sent} of "
            f"{done.files} files sent, {done.bytes_sent} bytes"
        )
    )


def fetch_data(
    address: Address,
    folder: Annotated[Path, typer.Argument(help="Not there yet, or of an earlier fetch.")],
    version: Annotated[
        str, typer.Option(help="64 hex digits, as publish told; else the current one.")
    ] = "",
    transfers: Transfers = 8,
) -> None:
    """Bring what is published into a folder: one version, every file compared with its SHA-256.

    [cyan]opendet data fetch s3://bucket/demo shards[/cyan], then
    [cyan]opendet inspect shards[/cyan]

    Killed, the next run fetches what is missing; a newer version, what is new.
    """
    from opendet.console import dress_logging, interrupt_on_sigterm, printable
    from opendet.object_store.fetch import fetch
    from opendet.object_store.store import open_store

    dress_logging()
    interrupt_on_sigterm()
    store = open_store(address)
    done = fetch(store, folder, version=version, transfers=transfers)
    typer.echo(
        printable(
            f"{folder}: version {done.version}, {_counted(done.parts)}; {done.came} of "
            f"{done.files} files fetched, {done.bytes_came} bytes"
        )
    )


def _require_lasting(store: "Store", build: "Build") -> None:
    """Raises ValueError for a store that ends with this process, or that a build would wipe."""
    if store.address.lower().startswith("memory:"):
        raise ValueError(f"{store.address} ends with this program: publish to a store that lasts")
    if store.kind != "local":
        return
    place = Path(store.root or "/").resolve()
    for own in (build.folder.resolve(), (build.root / ".opendet").resolve()):
        if place.is_relative_to(own) or own.is_relative_to(place):
            raise ValueError(
                f"{store.address} and the build's own folder {own} lie one within the other, and a "
                "build replaces what is in its own: publish to a folder elsewhere"
            )


def _counted(parts: int) -> str:
    return "1 part" if parts == 1 else f"{parts} parts"
