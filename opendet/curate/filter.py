"""The stage `filter`: what may be learned from, by rules over what the stages before measured.

A rule is a pure function that gives a reason to refuse, or an empty string. A refused region stays
in its record with the reason; a refused image leaves the flow and stays in the ledger. No rule sees
`Region.label`: only the tally does, to measure how good the rules are. The last word on a region is
that of people (`opendet.corrections`).
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pydantic import Field

from opendet.corrections.applying import corrected, is_corrected
from opendet.corrections.batches import Corrections, Given
from opendet.curate.label_rounds import Rounds
from opendet.curate.label_value import AGAINST_NAMES, UNHEARD, LabelValue, LabelValueConfig
from opendet.curate.second_opinion import annotator_of, first_annotator, is_the_sources
from opendet.record import Provenance, Record, Region
from opendet.sample import Dropped, Sample
from opendet.section import Section

_AGAINST_NAMES = ("disagrees", "name judged wrong")


class FilterConfig(Section):
    """Thresholds. A rule whose threshold is null is off."""

    splits: tuple[str, ...] = ("train",)
    """Splits that the rules apply to. Others pass untouched: evaluation data that a filter thins
    would only ask what the filter's model already knows."""
    refuse_crowds: bool = True
    """Refuse boxes that cover a group not annotated one by one."""
    min_side: float | None = Field(default=4.0, ge=0)
    """Shortest allowed side of a box, in pixels."""
    min_area: float | None = Field(default=0.0001, ge=0, le=1)
    """Smallest allowed box, as a share of the image's area."""
    max_area: float | None = Field(default=0.99, ge=0, le=1)
    """Largest allowed box, as a share of the image's area."""
    min_border: float | None = Field(default=None, ge=0)
    """Pixels that a box must keep from the image's border; 0.5 refuses what touches it."""
    max_overlap: float | None = Field(default=None, gt=0, le=1)
    """IoU from which a box repeats an earlier kept one of the same first name."""
    min_agreement: float | None = Field(default=None, ge=-1, le=1)
    """Least cosine of crop and text; real CLIP models give true pairs about 0.2 to 0.3."""
    min_margin: float | None = Field(default=0.0, ge=-2, le=2)
    """How much closer than the best other name of the vocabulary the text must be to the crop."""
    min_name_belief: float | None = Field(default=None, ge=0, le=1)
    """Least belief of the stage `verify` that the first name is right; a name that it did not
    judge is refused."""
    min_box_belief: float | None = Field(default=None, ge=0, le=1)
    """Least belief of the stage `verify` that the box is tight; where it did not judge the box of a
    named region, the region is refused."""
    min_seconded: float | None = Field(default=None, ge=-1, le=1)
    """Two annotators must agree: a region of the record's first annotator is kept where another
    one saw something too (IoU of 0.5) and called it alike, by this cosine of the two names; the
    regions of all others only second those."""
    label_value: LabelValueConfig = LabelValueConfig()
    """What training said of names, once it has: the rules of the label-value loop."""
    corrections: bool = True
    """Let the corrections that people gave (`opendet data correct`) have the last word, in every
    split."""
    min_regions: int = Field(default=0, ge=0)
    """Fewest kept regions of an image."""
    max_regions: int | None = Field(default=None, ge=0)
    """Most kept regions of an image."""
    require_caption: bool = True
    """Drop images whose caption is empty."""
    drop_near_duplicates: bool = False
    """Drop images that look like an earlier one, where the source only flags them."""

    @property
    def judges(self) -> bool:
        """Whether the agreement rule is on."""
        return self.min_agreement is not None or self.min_margin is not None

    @property
    def judges_names(self) -> bool:
        """Whether any rule compares a name with what the pixels show."""
        return self.judges or self.min_name_belief is not None


class Filter:
    """Applies the rules to each record. `rounds`: those of the label-value loop, where it ran;
    `corrections`: what people said, where anybody did."""

    def __init__(
        self,
        config: FilterConfig,
        rounds: Rounds | None = None,
        corrections: Corrections | None = None,
    ) -> None:
        self._config = config
        self._value = value_of(rounds, config)
        self._corrections = corrections
        if corrections:
            corrections.of("")  # read now: damage ends the run, it does not quarantine each sample

    def __call__(self, samples: Sequence[Sample]) -> list[Record | Dropped]:
        return [self._judged(sample.record) for sample in samples]

    def _judged(self, record: Record) -> Record | Dropped:
        given = self._corrections.of(record.key) if self._corrections else ()
        return filter_record(record, self._config, self._value, given)


def value_of(rounds: Rounds | None, config: FilterConfig) -> LabelValue:
    """What training said in those rounds."""
    return rounds.judged(config.label_value) if rounds else UNHEARD


def filter_record(
    record: Record, config: FilterConfig, value: LabelValue = UNHEARD, given: Given = ()
) -> Record | Dropped:
    """The record with each region judged anew and what people said of it, or why the whole image is
    refused."""
    if record.split not in config.splits:
        return corrected(record, given)
    judged = replace(record, regions=judge_regions(record, config, value))
    judged = corrected(judged, given)
    return image_refusal(judged, config) or judged


def judge_regions(
    record: Record, config: FilterConfig, value: LabelValue = UNHEARD
) -> tuple[Region, ...]:
    """The regions in order, each with the first reason to refuse it, or none; what training said
    comes last of all, for it says nothing of what it was not shown."""
    judged: list[Region] = []
    for index, region in enumerate(record.regions):
        kept = [earlier for earlier in judged if earlier.kept]
        refusal = region_refusal(region, record, kept, config)
        refusal = refusal or value.refusal(record.key, index, region)
        judged.append(replace(region, refusal=refusal))
    return tuple(judged)


def region_refusal(
    region: Region, record: Record, kept: Sequence[Region], config: FilterConfig
) -> str:
    """The first reason to refuse a region: geometry first, what a model said of its name last, so
    that a reason that speaks against the name alone says nothing else is wrong.

    `kept`: the earlier regions of the image that no rule refused.
    """
    return (
        second_opinion(region, record, config)
        or crowd(region, config)
        or too_small(region, record, config)
        or too_large(region, record, config)
        or touches_border(region, record, config)
        or box_judged_loose(region, config)
        or no_name(region)
        or overlaps_another(region, kept, config)
        or not_seconded(region, config)
        or called_otherwise(region, config)
        or disagrees(region, config)
        or name_judged_wrong(region, config)
    )


def second_opinion(region: Region, record: Record, config: FilterConfig) -> str:
    """A witness is not learned from: its box stands already where it seconds one."""
    if config.min_seconded is None or is_the_sources(region):
        return ""
    return "" if annotator_of(region) == first_annotator(record) else "second opinion"


def crowd(region: Region, config: FilterConfig) -> str:
    return "crowd" if config.refuse_crowds and region.crowd else ""


def too_small(region: Region, record: Record, config: FilterConfig) -> str:
    width, height = _sides(region)
    short = config.min_side is not None and min(width, height) < config.min_side
    little = config.min_area is not None and _area_share(region, record) < config.min_area
    return "too small" if short or little else ""


def too_large(region: Region, record: Record, config: FilterConfig) -> str:
    large = config.max_area is not None and _area_share(region, record) > config.max_area
    return "too large" if large else ""


def touches_border(region: Region, record: Record, config: FilterConfig) -> str:
    if config.min_border is None:
        return ""
    x0, y0, x1, y1 = region.box_xyxy
    gap = min(x0, y0, record.width - x1, record.height - y1)
    return "touches the border" if gap < config.min_border else ""


def no_name(region: Region) -> str:
    return "" if region.names and region.names[0].strip() else "no name"


def overlaps_another(region: Region, kept: Sequence[Region], config: FilterConfig) -> str:
    rivals = [other.box_xyxy for other in kept if other.names[0] == region.names[0]]
    if config.max_overlap is None or not rivals:
        return ""
    import torch

    from opendet.boxes import pairwise_iou

    box_xyxy = torch.tensor([region.box_xyxy], dtype=torch.float64)
    iou, _ = pairwise_iou(box_xyxy, torch.tensor(rivals, dtype=torch.float64))
    return "overlaps another" if float(iou.max()) >= config.max_overlap else ""


def box_judged_loose(region: Region, config: FilterConfig) -> str:
    if config.min_box_belief is None:
        return ""
    belief = _belief(region.box_checked)
    if belief is None:
        return "" if no_name(region) else "box not judged"
    return "box judged loose" if belief < config.min_box_belief else ""


def not_seconded(region: Region, config: FilterConfig) -> str:
    if config.min_seconded is None or is_the_sources(region):
        return ""
    return "not seconded" if region.seconded is None else ""


def called_otherwise(region: Region, config: FilterConfig) -> str:
    """Another annotator saw it too, and gave it another name: there is something, and nobody knows
    what."""
    least, seconded = config.min_seconded, region.seconded
    if least is None or seconded is None or is_the_sources(region):
        return ""
    return "called otherwise" if seconded < least else ""


def name_judged_wrong(region: Region, config: FilterConfig) -> str:
    if config.min_name_belief is None:
        return ""
    belief = _belief(region.name_checked)
    if belief is None:
        return "not judged"
    return "name judged wrong" if belief < config.min_name_belief else ""


def disagrees(region: Region, config: FilterConfig) -> str:
    """What the crop shows and what the text says differ, or nobody measured whether they do.

    Where the vocabulary has no other name there is no rival, and the margin cannot be lost.
    """
    if not config.judges:
        return ""
    agreement, rival = region.agreement, region.rival_agreement
    if agreement is None or not math.isfinite(agreement):
        return "not judged"
    if config.min_agreement is not None and agreement < config.min_agreement:
        return "disagrees"
    if config.min_margin is None or (rival is None and not region.rival):
        return ""
    if rival is None or not math.isfinite(rival):
        return "not judged"
    return "disagrees" if agreement - rival < config.min_margin else ""


def image_refusal(record: Record, config: FilterConfig) -> Dropped | None:
    """Why a record whose regions are judged is refused as a whole, or None."""
    kept = sum(region.kept for region in record.regions)
    if config.drop_near_duplicates and record.near_duplicate_of:
        return Dropped(record.key, "near duplicate", record.near_duplicate_of)
    if config.require_caption and not record.caption.strip():
        return Dropped(record.key, "empty caption")
    if kept < config.min_regions:
        return Dropped(record.key, "too few regions", f"{kept} of {len(record.regions)} kept")
    if config.max_regions is not None and kept > config.max_regions:
        return Dropped(record.key, "too many regions", f"{kept} kept")
    return None


def tally_rounds(records: Iterable[Record], config: FilterConfig, rounds: Rounds) -> dict[str, int]:
    """`tally` after those rounds of the label-value loop."""
    return tally(records, config, value_of(rounds, config))


def tally(
    records: Iterable[Record], config: FilterConfig, value: LabelValue = UNHEARD
) -> dict[str, int]:
    """Regions kept and refused by reason; and, to measure and never to decide, how the rules on
    names (agreement, a verifier's belief) did on the regions whose true name is known: `judged` by
    them, of which they said `disagrees`; `planted.judged` whose first name is not the true one, of
    which `planted.caught`. Records of splits that the rules do not apply to count for nothing.
    What people corrected is kept or refused like any other, and judged by nobody else.

    Where the rules of the label-value loop are on, the same of them, among what no other rule
    refused: `training.judged` (the true name is known), `.against`, `.planted`, `.caught`; and
    `training.unheard`, the kept regions that no training saw by the name that they have.
    """
    counts = Counter[str](kept=0)
    for record in records:
        if record.split in config.splits:
            for index, region in enumerate(record.regions):
                counts.update(_verdicts(region, config))
                heard = value.knows(record.key, index, region)
                counts.update(_training_verdicts(region, config, heard=heard))
    return dict(counts)


def precision_recall(tally: Mapping[str, int]) -> tuple[float | None, float | None]:
    """Of the regions whose name a rule refused, the share that was wrong; of the wrong ones
    that it judged, the share that it refused. Both in [0, 1], None where there were none."""
    caught = tally.get("planted.caught", 0)
    refused, planted = tally.get("disagrees", 0), tally.get("planted.judged", 0)
    return caught / refused if refused else None, caught / planted if planted else None


def training_precision_recall(tally: Mapping[str, int]) -> tuple[float | None, float | None]:
    """The same of what training spoke against, among what all other rules kept."""
    caught = tally.get("training.caught", 0)
    against, planted = tally.get("training.against", 0), tally.get("training.planted", 0)
    return caught / against if against else None, caught / planted if planted else None


def _verdicts(region: Region, config: FilterConfig) -> list[str]:
    verdicts = ["kept" if region.kept else "refused." + region.refusal.replace(" ", "_")]
    if is_corrected(region):
        return [*verdicts, "corrected"]
    disagreed = region.refusal in _AGAINST_NAMES
    if region.label is None or not config.judges_names or not (region.kept or disagreed):
        return verdicts
    planted = region.names[0] not in region.true_names
    verdicts.append("judged")
    verdicts += ["disagrees"] * disagreed + ["planted.judged"] * planted
    return verdicts + ["planted.caught"] * (disagreed and planted)


def _training_verdicts(region: Region, config: FilterConfig, *, heard: bool) -> list[str]:
    against = region.refusal in AGAINST_NAMES
    if not config.label_value.judges or not (region.kept or against) or is_corrected(region):
        return []
    if not heard:
        return ["training.unheard"]
    if region.label is None:
        return []
    planted = region.names[0] not in region.true_names
    said = {"judged": True, "against": against, "planted": planted, "caught": against and planted}
    return [f"training.{what}" for what, so in said.items() if so]


def _belief(checked: Provenance | None) -> float | None:
    """In [0, 1]; None where nobody judged it, or said how sure."""
    score = checked.score if checked is not None else None
    return score if score is not None and math.isfinite(score) else None


def _sides(region: Region) -> tuple[float, float]:
    x0, y0, x1, y1 = region.box_xyxy
    return x1 - x0, y1 - y0


def _area_share(region: Region, record: Record) -> float:
    width, height = _sides(region)
    return width * height / (record.width * record.height)
