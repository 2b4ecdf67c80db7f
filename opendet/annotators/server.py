"""One HTTP server that answers questions: how it is reached, and how often it is tried.

Busy, an error of its own, a lost connection or silence: the server's faults may pass, so they are
tried again after growing waits. Nothing else is.
"""

import asyncio
import ipaddress
import math
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from opendet.annotators.chat import Unanswered, words_of
from opendet.annotators.served_config import ServedConfig

NOT_OFFERED = (404, 405, 501)
"""Statuses of a page that a server does not have."""
SHORTEST_SECRET = 8
"""Characters of a key that is worth hiding: a server without keys is often given a dummy."""


class UnusableServerError(ConnectionError):
    """No answers can be had, and no sample is to blame: the stage must end, and can go on later."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back over the wire."""

    status: int
    body: bytes
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """Why nothing came back."""

    reason: str
    detail: str
    unreachable: bool = False
    """Whether there was not even a connection."""


class Server:
    """Where questions go. Holds no connection outside `connected`."""

    def __init__(self, config: ServedConfig) -> None:
        """Raises ValueError where the address or the key cannot be used."""
        self._config = config
        self.address = checked_address(config.address)
        self._key = _key(config.api_key_variable)
        self._heard = time.monotonic()
        self._tls = httpx2.create_ssl_context()  # reads the certificates: a tenth of a second

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[httpx2.AsyncClient]:
        """A pool of connections that ends with the block."""
        self._heard = time.monotonic()  # nobody has asked meanwhile
        # plain bytes only: a small compressed reply may hold gigabytes
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        async with httpx2.AsyncClient(
            base_url=self.address,
            headers=headers,
            # a proxy that the environment names has no way to this machine's loopback
            trust_env=not is_loopback(self.address),
            verify=self._tls,
            timeout=httpx2.Timeout(None, connect=self._config.connect_timeout_s),
            limits=httpx2.Limits(max_connections=self._config.concurrency),
        ) as client:
            yield client

    async def reply(
        self,
        client: httpx2.AsyncClient,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        place: int = 0,
    ) -> Reply | Unanswered:
        """What the server says in the end, of whatever status, or why it says nothing.

        `place` tells questions apart that wait at the same time. Raises UnusableServerError where
        no try finds anybody there, or the server has been silent to all for too long.
        """
        tries = self._config.retries + 1
        failures: list[Reply | Lost] = []
        while len(failures) < tries:
            result = await self._send(client, method, path, body)
            if isinstance(result, Unanswered):
                return result
            if isinstance(result, Reply) and not _may_pass(result):
                return result
            failures.append(result)
            self._end_silence()
            if len(failures) < tries:
                told = result.retry_after if isinstance(result, Reply) else ""
                await asyncio.sleep(pause_s(self._config, place, len(failures) - 1, told))
        if all(isinstance(one, Lost) and one.unreachable for one in failures):
            raise self.unusable(f"nobody answers there ({tries} tries): start the server")
        return _given_up(failures[-1], tries)

    async def _send(
        self, client: httpx2.AsyncClient, method: str, path: str, body: dict[str, Any] | None
    ) -> Reply | Lost | Unanswered:
        """One try. The reply is read to its end, or to the cap of bytes and of time."""
        config = self._config
        try:
            async with (
                asyncio.timeout(config.answer_timeout_s),
                client.stream(method, path, json=body) as response,
            ):
                content = await _read_capped(response, config.max_reply_bytes)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            return Lost("unreachable", type(error).__name__, unreachable=True)
        except TimeoutError:
            return Lost("timeout", f"no whole reply within {config.answer_timeout_s:g} s")
        except (httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
            return Lost("connection lost", type(error).__name__)
        self._heard = time.monotonic()
        if content is None:
            return Unanswered("overlong reply", f"more than {config.max_reply_bytes} bytes")
        retry_after = response.headers.get("retry-after", "")
        return Reply(response.status_code, self._redacted(content), retry_after)

    def _end_silence(self) -> None:
        """A server that stalls would else take all tries of many questions to be given up."""
        longest = self._config.longest_silence_s
        if time.monotonic() - self._heard > longest:
            raise self.unusable(
                f"it has said nothing at all for {longest:g} s: look what it is doing, or raise "
                "served.longest_silence_s where answers take that long"
            )

    def unusable(self, why: str) -> UnusableServerError:
        """The error that ends a stage, in one line."""
        return UnusableServerError(
            f"served.address: {self.address}: {why}; then run the stage again, it "
            "goes on from where it is"
        )

    def _redacted(self, body: bytes) -> bytes:
        """Without the key, which some servers repeat; before anything else is done with it."""
        if len(self._key) < SHORTEST_SECRET:
            return body
        escaped = self._key.replace("/", "\\/")  # as some write it in JSON
        return body.replace(self._key.encode(), b"***").replace(escaped.encode(), b"***")


def checked_address(address: str) -> str:
    """The address without a slash at its end.

    Raises ValueError, which never repeats an address that may hold a key.
    """
    mend = "write it as http://host:port/v1"
    try:
        url = httpx2.URL(address.strip())
    except httpx2.InvalidURL as error:
        raise ValueError(f"served.address cannot be read: {mend}") from error
    if url.userinfo or url.query or url.fragment:
        raise ValueError(
            "served.address holds more than an address (a user, a key or a query): put the key "
            "into an environment variable and name that in served.api_key_variable"
        )
    if url.scheme not in ("http", "https") or not url.host or "%" in url.host:
        raise ValueError(f"served.address: {address!r} is no address of a server: {mend}")
    return str(url).rstrip("/")


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own."""
    host = httpx2.URL(address).host
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return False
    return number.is_loopback or number.is_unspecified


def pause_s(config: ServedConfig, place: int, number: int, told: str = "") -> float:
    """Seconds to wait after try `number` (from 0) of the question at `place`.

    What the server asks for in `Retry-After`, else `backoff_s` doubled at each try and spread over
    its upper half, the same way in each run; `longest_wait_s` at the most.
    """
    asked = retry_after_s(told)
    if asked is not None:
        return min(asked, config.longest_wait_s)
    longest = min(config.backoff_s * 2.0**number, config.longest_wait_s)
    return longest * (0.5 + random.Random(f"{config.seed} {place} {number}").random() / 2)


def retry_after_s(told: str) -> float | None:
    """Seconds in a `Retry-After`, which holds a number or a date; None where it holds neither."""
    try:
        seconds = float(told)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(told).timestamp() - time.time()
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _may_pass(reply: Reply) -> bool:
    return reply.status == 429 or (reply.status >= 500 and reply.status not in NOT_OFFERED)


def _given_up(last: Reply | Lost, tries: int) -> Unanswered:
    if isinstance(last, Lost):
        return Unanswered(last.reason, f"{last.detail}, {tries} tries", may_pass=True)
    reason = "server busy" if last.status == 429 else "server error"
    said = f"HTTP {last.status}: {words_of(last.body)}, {tries} tries"
    return Unanswered(reason, said, may_pass=True)


def _key(variable: str) -> str:
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ValueError(
            f"served.api_key_variable: the environment has no {variable}: export it, or leave "
            "the variable's name empty for a server without keys"
        )
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"served.api_key_variable: what {variable} holds cannot be sent as a key")
    return key


async def _read_capped(response: httpx2.Response, most: int) -> bytes | None:
    """The body as it was sent; None where it has more bytes than `most`."""
    received = bytearray()
    async for chunk in response.aiter_raw():
        received += chunk
        if len(received) > most:
            return None
    return bytes(received)
