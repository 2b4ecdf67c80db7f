"""Rules for spans: whether they still hold their phrases when the loader has the caption."""

from collections.abc import Iterator

from opendet.inspect.lint_kinds import Finding
from opendet.inspect.lint_view import GroundedImage, SpannedPhrase, cut
from opendet.sources.odvg import find_words


def placed_spans(image: GroundedImage) -> Iterator[Finding]:
    if image.caption is None:
        return
    for phrase in image.phrases:
        for start, end in phrase.spans or ():
            if end <= start:
                yield Finding("span.empty", phrase.part, f"[{start}, {end}) holds no character.")
            elif start < 0 or end > len(image.caption):
                said = f"[{start}, {end}) is not in a caption of {len(image.caption)} characters."
                yield Finding("span.outside", phrase.part, said)


def matching_spans(image: GroundedImage) -> Iterator[Finding]:
    """A span that holds other words than its phrase does, or would after the loader's work."""
    if image.caption is None:
        return
    for phrase in image.phrases:
        spans = list(image.good_spans(phrase))
        if phrase.spans is None or len(spans) < len(phrase.spans):
            continue
        spoken = [image.caption[start:end].lower() for start, end in spans]
        wanted = _wanted(phrase, spoken)
        if wanted is None:
            said = f"it has {len(spans)} spans for {len(phrase.texts)} phrases."
            yield Finding("span.count", phrase.part, said)
            continue
        for (start, end), has, wants in zip(spans, spoken, wanted, strict=True):
            if not wants.strip():
                continue  # `sound_names` says so
            if has not in (wants, wants.strip()):
                said = f"[{start}, {end}) is {cut(has)!r} and the phrase is {cut(wants)!r}."
                yield Finding("span.mismatch", phrase.part, said)
            elif end > image.steady:
                loaded = image.loaded_caption[start:end]
                said = f"[{start}, {end}) is {cut(wants)!r} and, lowered and stripped, {loaded!r}."
                yield Finding("span.shifted", phrase.part, said)


def present_spans(image: GroundedImage) -> Iterator[Finding]:
    if image.needs_spans:
        for phrase in image.phrases:
            if phrase.spans is None:
                said = f"{cut(' '.join(phrase.texts))!r} has no `tokens_positive`."
                yield Finding("span.missing", phrase.part, said)


def apart_spans(image: GroundedImage) -> Iterator[Finding]:
    """A span that overlaps one of another phrase; the same span in two regions is one phrase."""
    spans = [(*span, phrase.part) for phrase in image.phrases for span in image.good_spans(phrase)]
    last: tuple[int, int, str] | None = None
    for span in sorted(spans, key=lambda one: one[:2]):  # stable: the first region comes first
        start, end, part = span
        if last and start < last[1] and (start, end) != last[:2] and part != last[2]:
            said = f"[{start}, {end}) overlaps [{last[0]}, {last[1]}) of {last[2]}."
            yield Finding("span.overlap", part, said)
        if last is None or end > last[1]:
            last = span


def spoken_phrases(image: GroundedImage) -> Iterator[Finding]:
    """In a dialect without spans, a loader looks for the phrase in the caption, to the letter."""
    if image.caption is None or image.needs_spans or not image.loaded_caption:
        return
    for phrase in image.phrases:
        for text in filter(str.strip, phrase.texts):
            if not find_words(image.caption, text):
                said = f"{cut(text)!r} is not in the caption."
                yield Finding("phrase.not_in_caption", phrase.part, said)


def _wanted(phrase: SpannedPhrase, spoken: list[str]) -> list[str] | None:
    """What each span should hold; None where spans and phrases cannot be paired."""
    texts = [text.lower() for text in phrase.texts]
    if len(texts) == len(spoken):
        return texts
    if len(texts) == 1:
        return spoken if texts[0] == " ".join(spoken) else texts * len(spoken)
    return None
