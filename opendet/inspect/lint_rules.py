"""The rules of the lint: each takes the view of one image and yields what is wrong with it.

A rule that another one makes pointless is silent: an empty span is not a mismatch too.
"""

from opendet.inspect.lint_boxes import (
    enough_boxes,
    finite_boxes,
    inside_boxes,
    modest_boxes,
    parted_boxes,
    upright_boxes,
    visible_boxes,
)
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
    shown_image,
    sound_names,
    spoken_turns,
    sure_texts,
)
from opendet.inspect.lint_view import Rule

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
    clean_caption,
    sure_texts,
    sound_names,
    alternating_turns,
    shown_image,
    spoken_turns,
)
"""All rules that look at one image and need nothing else."""
