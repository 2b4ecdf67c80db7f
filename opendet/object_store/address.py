"""What is an address of a store, such as s3://bucket/prefix. Light to import."""

import re
from urllib.parse import urlsplit

_IS_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_UNFIT = re.compile(r"::|\?|[\x00-\x1f\x7f]")


def is_address(text: str) -> bool:
    """Whether a text is meant as an address and not as a path."""
    return _IS_ADDRESS.match(text) is not None


def check_address(address: str) -> None:
    """Raises ValueError, in one line, for what is no address, or holds a password or a query.

    Those are not repeated: the line would tell them to whoever reads the log.
    """
    if not is_address(address):
        raise ValueError(
            f"{address} is no address: write one such as s3://bucket/prefix or file:///folder"
        )
    if not address.partition("://")[2].strip("/."):
        raise ValueError(
            f"{address} names no place: write one such as s3://bucket/prefix or file:///folder"
        )
    if "@" in address and urlsplit(address).password is not None:
        raise ValueError("the address holds a password: leave it to the environment of the store")
    if _UNFIT.search(address):
        raise ValueError(
            "the address holds ::, ? or a control character: write protocol://place alone, and "
            "leave keys and options to the environment of the store"
        )
