"""What a store refuses, in one line that says how to mend it."""

from collections.abc import Iterator
from contextlib import contextmanager

DENIED = frozenset({"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"})
"""Errors of clients who never got as far as asking."""
UNREACHED = ("Connect", "Endpoint", "Timeout", "SSL", "DNS")
"""Of such words are the names of errors made that say that nobody answered."""
_LONGEST = 160


class StoreError(ConnectionError):
    """A store could not be asked, or refused: what it holds is not judged, and a stage that reads
    there ends, to go on another time."""


class StoreDeniedError(StoreError):
    """The store refused, and will each time."""


@contextmanager
def told_plainly(address: str) -> Iterator[None]:
    """Turns whatever a store's client raises into a StoreError of one line: they share no base.

    A ValueError goes through, and so does FileNotFoundError where an object is missing.
    """
    try:
        yield
    except (ValueError, StoreError):
        raise
    except Exception as error:
        if isinstance(error, FileNotFoundError) and not _is_no_bucket(error):
            raise
        kind = StoreDeniedError if _is_denied(error) or _is_no_bucket(error) else StoreError
        raise kind(f"{address}: {_line_of(error)}") from error


def code_of(error: BaseException) -> str:
    """What S3 calls an error, such as `PreconditionFailed`; empty where it was none of S3's."""
    for one in (error, error.__cause__):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""


def _line_of(error: Exception) -> str:
    said = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
    name = type(error).__name__
    if _is_no_bucket(error):
        return "there is no such bucket: make it first, or mend the address"
    if _is_denied(error):
        return (
            f"access is denied ({said}): look at your credentials ($AWS_PROFILE, or what your "
            "store asks for), and that they may list, read and write here"
        )
    unreached = isinstance(error, (ConnectionError, TimeoutError))
    if unreached or any(word in name for word in UNREACHED):
        return (
            f"the store cannot be reached ({said}): check the network, and $AWS_ENDPOINT_URL for a "
            "store of your own"
        )
    return f"{said} ({name})"


def _is_no_bucket(error: Exception) -> bool:
    return code_of(error) == "NoSuchBucket"


def _is_denied(error: Exception) -> bool:
    return isinstance(error, PermissionError) or type(error).__name__ in DENIED
