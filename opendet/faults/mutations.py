"""Damages files at random: bits, spans, numbers, tokens, and values of JSON. Seeded."""

import json
import random
import re
from collections.abc import Callable
from typing import Any

MOST = 4
"""Of the changes that are made to a file at once."""
DEEP = 20_000
"""Levels; deeper than any parser's stack that counts frames."""
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_BLOCK = 512
_TOKENS = (
    *(b"\0", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"\n", b"\x1b[2J", b"\xe2\x80\xa8"),
    *(
        b'"',
        b"'",
        b",",
        b":",
        b"{",
        b"}",
        b"[",
        b"]",
        b"- ",
        b"? ",
        b"%s",
        b"${HOME}",
        b"../",
        b"/",
    ),
    *(b"null", b"true", b"nan", b"inf", b"1e999", b"-1", b"0", b"18446744073709551616"),
    *(b"&a [*a]", b"<<: *a", b"!!python/object/apply:os.getcwd []", b"!!binary x", b"\\ud800"),
    *(b"<!DOCTYPE a>", b"&#0;", b"<object/>", b"[/EN#1/a ", b"]]>", b"v1.2 9", b"ustar"),
)
_NUMBERS = (
    *(b"0", b"-1", b"1", b"2147483648", b"9223372036854775808", b"1e308", b"1e-320", b"1e999"),
    *(b"NaN", b"Infinity", b"-0.0", b"9" * 5000, b"0.1", b"0x10", b"1_0"),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 1e308, -0.0, float("nan"), float("inf")),
    *("", " ", "\0", "\x1b]0;x\x07", "../../etc/passwd", "/etc/passwd", "\ud800", "a" * 100_000),
    *([], {}, [[]], [None], {"": None}, "0", "1e5", "<script>", "${HOME}"),
)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The content with one to four changes."""
    for _ in range(rng.randint(1, MOST)):
        content = rng.choice(_CHANGES)(content, rng)
    return content


def mutated_json(content: bytes, rng: random.Random) -> bytes:
    """JSON, or a line of JSON lines, with a value of another kind in some place; as bytes else."""
    lines = content.split(b"\n")
    place = rng.randrange(len(lines))
    whole = _parsed(content)
    value = whole if whole is not None else _parsed(lines[place])
    if value is None:
        return mutated(content, rng)
    text = json.dumps(_replaced(value, rng), ensure_ascii=rng.random() < 0.5)
    changed = text.encode(errors="surrogatepass")
    return (
        changed if whole is not None else b"\n".join([*lines[:place], changed, *lines[place + 1 :]])
    )


def mutated_header(content: bytes, rng: random.Random) -> bytes:
    """A tar file with a changed header whose checksum is right again."""
    headers = [at for at in range(0, len(content), _BLOCK) if content[at + 257 :][:5] == b"ustar"]
    if not headers:
        return mutated(content, rng)
    at = rng.choice(headers)
    header = bytearray(content[at : at + _BLOCK])
    start, width = rng.choice(_HEADER)
    old = bytes(header[start : start + width])
    new = mutated(old, rng) if rng.random() < 0.5 else rng.choice(_FIELDS)
    header[start : start + width] = new[:width].ljust(width, b"\0")
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * ord(" ") + sum(header[156:]))
    return content[:at] + bytes(header) + content[at + _BLOCK :]


_HEADER = ((0, 100), (100, 8), (108, 8), (124, 12), (136, 12), (156, 1), (157, 100), (345, 155))
"""Begin and length of a header's fields: name, mode, owner, size, time, kind, link, prefix."""
_FIELDS = (
    *(b"1", b"2", b"3", b"5", b"x", b"g", b"L", b"S", b"../../x.json", b"/etc/passwd", b"a.pkl"),
    *(b"77777777777", b"\x80" + b"\xff" * 11, b"-1", b"", b"a-000001.json", b"a.b.json"),
)


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _replaced(value: Any, rng: random.Random) -> Any:
    """The value with some inner one put in its place, taken away, or doubled."""
    inner = (
        list(value)
        if isinstance(value, dict)
        else list(range(len(value)))
        if isinstance(value, list)
        else []
    )
    if not inner or rng.random() < 0.15:
        return rng.choice(_VALUES)
    place = rng.choice(inner)
    changed = value.copy()
    match rng.randrange(8):
        case 0:
            del changed[place]
        case 1 if isinstance(value, list):
            changed.append(value[place])
        case 1:
            changed[f"{place}x"] = changed.pop(place)
        case _:
            changed[place] = _replaced(value[place], rng)
    return changed


def _flip(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return b"\0"
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randint(0, len(content))]


def _remove(content: bytes, rng: random.Random) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + content[end:]


def _double(content: bytes, rng: random.Random) -> bytes:
    start, end = _span(content, rng)
    return content[:end] + content[start:end] * rng.choice((1, 2, 50)) + content[end:]


def _swap(content: bytes, rng: random.Random) -> bytes:
    a, b = _span(content, rng)
    c, d = _span(content[b:], rng)
    return (
        content[:a] + content[b + c : b + d] + content[b : b + c] + content[a:b] + content[b + d :]
    )


def _insert(content: bytes, rng: random.Random) -> bytes:
    place = rng.randint(0, len(content))
    return content[:place] + rng.choice(_TOKENS) + content[place:]


def _overwrite(content: bytes, rng: random.Random) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + rng.randbytes(end - start) + content[end:]


def _number(content: bytes, rng: random.Random) -> bytes:
    found = list(_NUMBER.finditer(content))
    if not found:
        return _insert(content, rng)
    one = rng.choice(found)
    return content[: one.start()] + rng.choice(_NUMBERS) + content[one.end() :]


def _nest(content: bytes, rng: random.Random) -> bytes:
    place = rng.randint(0, len(content))
    return (
        content[:place] + rng.choice((b"[", b'{"a":', b"- ", b"<a>", b"(")) * DEEP + content[place:]
    )


def _span(content: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randint(0, len(content))
    return start, min(len(content), start + rng.choice((1, 4, 16, 64, 512, 4096)))


_CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_flip, _flip, _cut, _remove, _double, _swap, _insert, _insert, _overwrite, _number, _number),
    _nest,
)
