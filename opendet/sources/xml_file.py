"""An XML file of annotations, read without the parts of XML that can do harm."""

from pathlib import Path
from xml.etree import ElementTree

from opendet.sources.listing import RefusedError

MAX_XML_BYTES = 4_000_000


class _WithoutDoctype(ElementTree.TreeBuilder):
    """Entities, which can grow without bounds or name other files, need a document type."""

    def doctype(self, name: str, *_: str | None) -> None:
        raise ValueError(f"a document type ({name}) is not allowed")


def read_xml(path: Path) -> ElementTree.Element:
    """The root. Raises RefusedError for a file that is missing, too large or no XML."""
    if not path.is_file():
        raise RefusedError("missing annotation", path.name)
    if path.stat().st_size > MAX_XML_BYTES:
        raise RefusedError("broken annotation", f"{path.name} has more than {MAX_XML_BYTES} bytes")
    try:
        parser = ElementTree.XMLParser(target=_WithoutDoctype())
        return ElementTree.fromstring(path.read_bytes(), parser)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise RefusedError("broken annotation", f"{path.name}: {error}") from error
