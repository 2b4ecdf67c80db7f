"""XML of annotations: what is read, and what is refused."""

from pathlib import Path

import pytest

from opendet.sources.listing import RefusedError
from opendet.sources.xml_file import MAX_XML_BYTES, read_xml


def reason_and_detail(path: Path) -> tuple[str, str]:
    with pytest.raises(RefusedError) as caught:
        read_xml(path)
    return caught.value.reason, caught.value.detail


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<a><b>c</b></a>")
    assert read_xml(tmp_path / "a.xml").findtext("b") == "c"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert reason_and_detail(tmp_path / "a.xml") == ("missing annotation", "a.xml")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<a>",
        b"<a>\xff</a>",
        b'<?xml version="1.0" encoding="nonsense"?><a/>',
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b" " * (MAX_XML_BYTES + 1),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.xml").write_bytes(content)
    reason, detail = reason_and_detail(tmp_path / "a.xml")
    assert reason == "broken annotation"
    assert detail.startswith("a.xml")  # and not where it lies: the same words on every machine
