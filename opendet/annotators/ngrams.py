"""Runs of a text's words that may name a thing: OWL-ST's N-grams (Minderer et al. 2023, A.2).

A caption from the web says much that is no thing: words that hold a sentence together, and phrases
of web pages (`free download`). The lists are closed; nothing may iterate over the sets.
"""

import re
from collections.abc import Iterator

from opendet.annotators import english
from opendet.annotators.noun_phrases import word_spans


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOP_WORDS = (
    english.DETERMINERS
    | english.NUMBERS
    | english.PREPOSITIONS
    | english.ADVERBS
    | english.CONJUNCTIONS
    | english.FUNCTION_WORDS
    | english.AUXILIARIES
    | _words(
        "s t d ll m re ve as own same such than few other once further more most being doing "
        "having theirs ours yours hers myself yourself yourselves ourselves mine don ain isn aren "
        "wasn weren couldn didn doesn hadn hasn haven needn shouldn won wouldn"
    )
)
"""No query begins or ends with one."""

_PAGE_WORDS = _words(
    "http https www html php com jpg jpeg png gif webp svg pdf psd eps hd uhd 4k 8k px dpi click "
    "download downloads downloadable subscribe login signup username password copyright "
    "copyrighted shutterstock istock istockphoto alamy getty gettyimages dreamstime depositphotos "
    "pinterest instagram facebook twitter youtube tumblr wordpress ebay etsy unsplash pixabay "
    "flickr wallpaper wallpapers thumbnail thumbnails clipart lightbox seo url website homepage"
)
"""A run with one of them speaks of a page or a file."""

_PAGE_PHRASE = re.compile(
    r"\b(stock|free|product|royalty[ -]free) "
    r"(images?|photos?|photography|pictures?|pics?|vectors?|illustrations?|footage|videos?)\b"
    r"|\broyalty[ -]free\b|\bfree (shipping|delivery|download)\b"
    r"|\b(view|see|show|learn|read|find out) (more|larger|all|full size)\b"
    r"|\b(full size|larger image|(high|low)[ -](resolution|quality|res))\b"
    r"|\brights reserved\b|\bmore (info|information|details)\b|\b(buy|shop|order) now\b"
    r"|\badd to (cart|basket)\b|\b(in|out of) stock\b|\bfor sale\b|\bbest price\b"
    r"|\b(sign (up|in)|log in)\b|\b(privacy policy|terms of (use|service))\b"
    r"|\b(may contain|no description|no longer available|item number|file name)\b"
    r"|\b(photos?|image|picture|photographed|posted) (by|on|credit|source|gallery)\b"
    r"|\b(share this|related posts|leave a comment|search results)\b"
)
_PICTURE_OF = re.compile(
    r"\b(images?|photos?|photographs?|pictures?|pics?|snapshot|screenshot|shot|view|scene|close-?up)"
    r" (of|with|from|showing)\b"
)
_NO_THING = _words(
    "image images photo photos photograph photographs photography picture pictures pic pics "
    "snapshot shot view views scene scenes close-up closeup background foreground backdrop setting "
    "composition center centre middle left right top bottom side sides edge corner front back rear "
    "part parts area areas piece pieces type types kind kinds sort style version lot lots bunch "
    "variety series pair couple distance focus perspective angle way ways time day days year years "
    "month week hour minute today home price sale stock free new size color colour colors colours "
    "detail details thing things stuff object objects subject atmosphere mood feeling sense "
    "appearance impression idea concept moment place presence addition end start title caption "
    "description content contents love life freedom beauty fun happiness peace success help tips"
) | frozenset(("left side", "right side", "left hand side", "right hand side", "top left"))
"""Whole queries that name no thing to draw a box around."""

_GENITIVE = re.compile(r" (['’]s\b)")
"""A word of its own for the parser, and none in a query."""
_MARK = re.compile(r"[^\w'’]")


def ngrams_of(text: str, *, longest: int) -> tuple[str, ...]:
    """Runs of 1 to `longest` words, in lower case, each once: the shorter ones first, in the order
    of the text.

    None crosses a mark of punctuation, begins or ends with a stop word, or is generic.
    """
    pieces = list(_pieces(text.lower()))
    runs = (
        _GENITIVE.sub(r"\1", " ".join(words[start : start + length]))
        for length in range(1, longest + 1)
        for words in pieces
        for start in range(len(words) - length + 1)
        if words[start] not in STOP_WORDS and words[start + length - 1] not in STOP_WORDS
    )
    return tuple(dict.fromkeys(run for run in runs if not is_generic(run)))


def is_generic(query: str) -> bool:
    """Whether a query in lower case speaks of a web page or of the picture itself, names no thing,
    or has no letters to speak of."""
    if query in _NO_THING or sum(one.isalpha() for one in query) < 2:
        return True
    if not _PAGE_WORDS.isdisjoint(query.split()):
        return True
    return bool(_PAGE_PHRASE.search(query) or _PICTURE_OF.search(query))


def _pieces(text: str) -> Iterator[list[str]]:
    """The words between marks of punctuation."""
    words: list[str] = []
    for span in word_spans(text):
        word = text[span.start : span.end]
        if _MARK.match(word):
            yield words
            words = []
        else:
            words.append(word)
    yield words
