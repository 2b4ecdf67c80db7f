"""Whether LLMDet's image-level caption objective helps rare names.

The detector with all parts learns scenes of the small world with boxes and names, as in
`whole_model`; in one arm a frozen language model must also write each scene's caption from the
encoder's map. Its captions name the rare objects too, and no unseen one, for no scene has any.
"""

from collections.abc import Iterator, Mapping, Sequence

from opendet.bench.caption_trial import CaptionTrial, run_caption_trial
from opendet.bench.harness import Place, Row, paired_by
from opendet.bench.processes import run_units

SEEDS = (0, 1, 2)
VERSION = "1"
"""As in `trials`: raise it when new runs no longer stand beside kept ones."""
GROUPS = {"": "all names", "_frequent": "frequent", "_rare": "rare", "_unseen": "unseen"}
GOALS = {"_rare": 0.0}
"""More than two standard errors above it."""

Scores = Mapping[str, float]


def captions(place: Place) -> Iterator[Row]:
    """With and without the objective, seed by seed."""
    pairs = [(CaptionTrial(1.0, seed), CaptionTrial(0.0, seed)) for seed in SEEDS]
    units = [trial for pair in pairs for trial in pair]
    done = run_units(units, run_caption_trial, place, version=VERSION)
    both = [(done[one], done[other]) for one, other in pairs if {one, other} <= done.keys()]
    if both:
        yield from comparison([one for one, _ in both], [other for _, other in both])


def comparison(arm: Sequence[Scores], other: Sequence[Scores]) -> Iterator[Row]:
    """The rows of both arms' scores, of the same seeds."""
    for group, title in GROUPS.items():
        metric = f"captions - none: AP, {title}"
        yield paired_by(metric, arm, other, f"ap{group}", GOALS.get(group))
    yield paired_by("captions - none: rare names right", arm, other, "right_rare")
    yield paired_by("captions - none: AP75 agnostic", arm, other, "agnostic_ap75")
    loss = sum(one["caption_loss"] for one in arm) / len(arm)
    yield Row("captions: cross-entropy of a token at the end", loss)
    time = sum(one["cpu_seconds"] for one in arm) / sum(one["cpu_seconds"] for one in other)
    yield Row("captions / none: CPU time of a step", time)
