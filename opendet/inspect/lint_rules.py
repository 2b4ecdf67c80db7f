"""The rules of the lint: each takes the view of one image and yields what is wrong with it.

A rule that another one makes pointless is silent: an empty span is not a mismatch too.
"""

from collections.abc import Iterator

from opendet.inspect.lint_boxes import (
    enough_boxes,
    finite_boxes,
    inside_boxes,
    modest_boxes,
    parted_boxes,
    upright_boxes,
    visible_boxes,
)
from opendet.inspect.lint_kinds import Finding
from opendet.inspect.lint_spans import (
    apart_spans,
    matching_spans,
    placed_spans,
    present_spans,
    spoken_phrases,
)
from opendet.inspect.lint_texts import (
    alternating_turns,
    clean_caption,
    filled_caption,
    short_caption,
    shown_image,
    sound_names,
    spoken_turns,
    sure_texts,
)
from opendet.inspect.lint_view import Rule, view_of_record
from opendet.record import Record

RULES: tuple[Rule, ...] = (
    finite_boxes,
    upright_boxes,
    visible_boxes,
    inside_boxes,
    parted_boxes,
    modest_boxes,
    enough_boxes,
    placed_spans,
    matching_spans,
    present_spans,
    apart_spans,
    spoken_phrases,
    filled_caption,
    short_caption,
    clean_caption,
    sure_texts,
    sound_names,
    alternating_turns,
    shown_image,
    spoken_turns,
)
"""All rules that look at one image and need nothing else."""


def findings_in(record: Record) -> Iterator[Finding]:
    """Everything that the rules find in a record, as it would go into a shard."""
    image, unfit = view_of_record(record)
    yield from unfit
    for rule in RULES:
        yield from rule(image)
