"""Texts of the data are texts in Markdown too, whatever is in them."""

import html
import re

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from opendet.cards.page import LONGEST, coded, number, said, section, share, table, with_header
from opendet.console import printable

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
TEXTS = st.text(max_size=60) | st.text("|`*_[]()<>&\\~#! \n-ab\x1b\u202e", max_size=40)


def cells_of(text: str) -> list[str]:
    """What a browser shows of a table's cells; tags are seen as `<...>`."""
    shown = re.findall(r"<td>(.*?)</td>", MARKDOWN.render(text), re.DOTALL)
    return [html.unescape(cell) for cell in shown]


@given(TEXTS)
@example("__0__")
def test_a_cell_shows_the_text_itself_and_no_markup(text: str) -> None:
    page = "\n".join(table(("a", "b"), [(said(text), "end")]))
    assert cells_of(page) == [" ".join(printable(text).split()), "end"]


@given(TEXTS)
def test_code_shows_the_text_itself_and_ends_where_it_should(text: str) -> None:
    page = "\n".join(table(("a", "b"), [(coded(f"x{text}x"), "end")]))
    shown = " ".join(printable(f"x{text}x").split()).replace("`", "'")
    first, last = cells_of(page)
    assert (first, last) == (f"<code>{shown}</code>", "end")


@given(TEXTS)
def test_a_heading_and_a_line_show_the_text_itself(text: str) -> None:
    shown = html.unescape(MARKDOWN.render(f"# x{said(text)}\n\nSaid x{said(text)}"))
    line = "x" + " ".join(printable(text).split())
    assert shown == f"<h1>{line}</h1>\n<p>Said {line}</p>\n"


def test_an_underscore_within_a_word_stays_readable() -> None:
    assert said("roller_skate _x_") == r"roller_skate \_x\_"


def test_a_long_text_is_cut() -> None:
    assert len(said("a" * 10_000)) == LONGEST
    assert said("abcdef", longest=3) == "ab…"


def test_a_header_is_yaml_that_no_text_can_leave() -> None:
    page = with_header({"pretty_name": "a: b\n---\n# c", "empty": [], "none": ""}, ["body"])
    header, body = page.split("---\n")[1], page.split("---\n")[-1]
    assert "empty" not in header
    assert body == "\nbody\n"


def test_a_section_of_nothing_is_not_there() -> None:
    assert list(section("Title", [])) == []
    assert list(section("Title", ["line"])) == ["## Title", "", "line", ""]


def test_numbers_are_for_people() -> None:
    assert (number(1234567), share(1, 3), share(1, 0)) == ("1,234,567", "33.3 %", "")
