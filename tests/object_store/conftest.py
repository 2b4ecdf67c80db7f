"""One server for all tests of stores."""

from collections.abc import Iterator

import pytest

from tests.object_store.s3_server import s3_server


@pytest.fixture(scope="package")
def server() -> Iterator[str]:
    """The address of an S3-compatible server, which the environment names meanwhile."""
    with s3_server() as address:
        yield address
