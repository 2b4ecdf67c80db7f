"""Text from sources and models is data: cleaned before it becomes part of a record."""

import re
import unicodedata

# categories of characters that nobody can read: control, surrogate, private use, unassigned
_UNREADABLE = frozenset(("Cc", "Cs", "Co", "Cn"))
# marks that turn the direction of what follows, and invisible ones; joiners stay: scripts need them
_HIDDEN = frozenset(
    "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")


def clean_text(text: str) -> str:
    """The readable characters of a text on one line, single spaces between words."""
    spaced = " ".join(text.split())
    kept = (
        one for one in spaced if one not in _HIDDEN and unicodedata.category(one) not in _UNREADABLE
    )
    return " ".join("".join(kept).split())


def cut_at_sentence(text: str, *, max_characters: int) -> str:
    """The longest run of whole sentences that fits; of whole words, where no sentence does."""
    if len(text) <= max_characters:
        return text
    ends = [match.end() for match in _SENTENCE_END.finditer(text) if match.end() <= max_characters]
    if ends:
        return text[: ends[-1]]
    words, _, _ = text[: max_characters + 1].rpartition(" ")
    return words or text[:max_characters]


def joined_sentences(texts: tuple[str, ...]) -> str:
    """Texts one after the other, each ended like a sentence."""
    cleaned = [clean_text(text) for text in texts]
    return " ".join(
        text if text.endswith((".", "!", "?")) else f"{text}." for text in cleaned if text
    )


_OPENER = re.compile(
    r"(?:(?:this|that|it|here|there|the (?:main )?(?:image|picture|photo|photograph|crop|region|"
    r"object)(?: in (?:this|the) \w+)?) (?:is|are|shows?|depicts?|contains?|features?)"
    r"|(?:i|we) (?:can )?see|(?:an? )?(?:close-up|picture|photo|photograph|image) of"
    r"|an?|the|some|one)(?:\s+|$)",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r"[,;:!?(]|\.(?=\s)|\s[-–—]\s|\s(?:that|which|who|with|in|on|at|near|next|is|are|and|against|under|above|from)\s",
    re.IGNORECASE,
)

_AROUND_NAMES = " .\"'*`-"


def short_name(answer: str, *, max_words: int) -> str:
    """The name in a model's answer, in lower case: `This is a red mug on a table.` -> `red mug`.

    Leading articles and phrases such as "this is" go, and so does all that follows the first
    clause. Empty where nothing is left.
    """
    name = clean_text(answer).strip(_AROUND_NAMES).lower()
    while opener := _OPENER.match(name):
        name = name[opener.end() :]
    words = _CLAUSE.split(f"{name} ", maxsplit=1)[0].split()
    return " ".join(words[:max_words]).strip(_AROUND_NAMES)
