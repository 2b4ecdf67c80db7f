"""Rules for texts: captions, names, and the turns of a conversation."""

import re
from collections.abc import Iterator
from itertools import chain

from opendet.annotators.english import DETERMINERS, NUMBERS
from opendet.curate.source_record import MAX_CAPTION
from opendet.inspect.lint_kinds import Finding
from opendet.inspect.lint_view import GroundedImage, cut

MAX_NAME = 100  # characters

# Control characters, invisible ones, those that turn the direction of writing, lone surrogates,
# and what a broken decoding leaves behind.
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffd\ud800-\udfff]"
)
_TAGS = (
    "a|abbr|article|b|big|blockquote|body|br|button|center|cite|code|dd|del|div|dl|dt|em|figure|"
    "font|footer|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|label|li|link|main|meta|nav|ol|"
    "option|p|pre|script|section|select|small|source|span|strong|style|sub|sup|svg|table|tbody|td|"
    "textarea|th|thead|title|tr|tt|u|ul|video"
)
_MARKUP = re.compile(rf"</?(?:{_TAGS})(?:\s[^<>]*)?/?>|<!--|&(?:[a-z]{{2,8}}|#x?[0-9a-f]+);", re.I)
_PLACEHOLDER = re.compile(
    r"<[^<>\s][^<>]*>|\[(?:UNK|PAD|MASK|CLS|SEP|INST|/INST|IMG|IMAGE|OBJECT|NAME)\]|\{[^{}]*\}"
)
_NOT_THERE = frozenset(("null", "none", "nan", "n/a", "undefined", "unknown", "todo", "tbd", "???"))
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_ARTICLES_AND_NUMBERS = DETERMINERS | NUMBERS
_SPECULATIVE = re.compile(
    r"\b(?:possibly|probably|perhaps|maybe|likely|presumably|apparently|seemingly|"
    r"(?:appear|seem)(?:s|ed|ing)? (?:to|as|like)|(?:may|might|could) (?:be|have|also)|"
    r"suggest(?:s|ing)?|it is unclear|hard to tell)\b",
    re.I,
)


def filled_caption(image: GroundedImage) -> Iterator[Finding]:
    if image.caption is not None and not image.caption.strip():
        yield Finding("caption.empty", "caption", "it has no words.")


def short_caption(image: GroundedImage) -> Iterator[Finding]:
    if image.caption is not None and len(image.caption) > MAX_CAPTION:
        said = f"it has {len(image.caption)} characters, not {MAX_CAPTION}: a build drops it."
        yield Finding("caption.too_long", "caption", said)


def clean_caption(image: GroundedImage) -> Iterator[Finding]:
    for pattern in (_CONTROL, _MARKUP, _PLACEHOLDER):
        if held := pattern.search(image.caption or ""):
            yield Finding("caption.unclean", "caption", f"it holds {cut(held[0])!r}.")
            return


def sure_texts(image: GroundedImage) -> Iterator[Finding]:
    turns = enumerate(image.conversation or ())
    said = ((f"turn {number}", turn.text) for number, turn in turns if turn.speaker == "gpt")
    for part, text in chain([("caption", image.caption or "")], said):
        if held := _SPECULATIVE.search(text):
            yield Finding("text.speculative", part, f"it guesses: {held[0]!r}.")


def sound_names(image: GroundedImage) -> Iterator[Finding]:
    """Each name has at most one finding: the first thing that is wrong with it."""
    for name in image.names:
        if wrong := _wrong_with(name.text):
            kind, said = wrong
            yield Finding(kind, name.part, said)


def alternating_turns(image: GroundedImage) -> Iterator[Finding]:
    if image.conversation is None:
        return
    speakers = [turn.speaker for turn in image.conversation]
    if not speakers or speakers != ["human", "gpt"] * (len(speakers) // 2):
        shown = ", ".join(speakers[:6]) or "nobody"
        said = f"{cut(shown)} speak: expected human, gpt, human, gpt."
        yield Finding("conversation.turns", "", said)


def shown_image(image: GroundedImage) -> Iterator[Finding]:
    """The image enters a conversation where `<image>` stands, once."""
    if not image.conversation:
        return
    held = [(turn.speaker, turn.text.count("<image>")) for turn in image.conversation]
    count = sum(one for _, one in held)
    if count != 1:
        yield Finding("conversation.image", "", f"it holds <image> {count} times.")
    elif ("human", 1) not in held:
        yield Finding("conversation.image", "", "<image> stands in an answer.")


def spoken_turns(image: GroundedImage) -> Iterator[Finding]:
    for number, turn in enumerate(image.conversation or ()):
        if not turn.text.strip():
            yield Finding("conversation.empty_turn", f"turn {number}", f"{turn.speaker} is silent.")


def _wrong_with(name: str) -> tuple[str, str] | None:
    """A kind and a sentence for a name that nothing should be called by."""
    if not name.strip():
        return "name.empty", "the name has no characters."
    if len(name) > MAX_NAME:
        return "name.too_long", f"{cut(name)!r} has {len(name)} characters, not {MAX_NAME}."
    if held := _CONTROL.search(name):
        return "name.control", f"{name!a} holds {held[0]!a}."
    if held := _MARKUP.search(name):
        return "name.markup", f"{name!r} holds {held[0]!r}."
    if name.strip().lower() in _NOT_THERE or _PLACEHOLDER.search(name):
        return "name.placeholder", f"{name!r} stands for a name and is none."
    words = (word.lower() for word in _WORD.findall(name))
    if all(word in _ARTICLES_AND_NUMBERS or word.isdecimal() for word in words):
        return "name.no_noun", f"{name!r} names no object."
    return None
