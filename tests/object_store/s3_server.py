"""An S3-compatible server on the loopback, from the package registry: moto."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import fsspec
import pytest

from opendet.object_store.store import open_store

SECRET = "a-secret-that-nobody-may-print"
BUCKET = "photos-and-shards"


@contextmanager
def s3_server() -> Iterator[str]:
    """Its address, with an empty bucket. The environment names it, as users do."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        # fsspec keeps its clients, those of another server too.
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        open_store(f"s3://{BUCKET}").file_system.mkdir(BUCKET)
        yield environment["AWS_ENDPOINT_URL"]
    server.stop()
