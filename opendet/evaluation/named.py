"""AP with names, and the names' quality: by the configured reading, and by others apart from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

from opendet.evaluation.ap import AveragePrecision, Truth, average_precision
from opendet.evaluation.config import EvaluateConfig
from opendet.evaluation.lemma import find_lemmatiser
from opendet.evaluation.mask_ap import MaskedSplit
from opendet.evaluation.match import match_boxes
from opendet.evaluation.name_quality import name_quality
from opendet.evaluation.naming import ReadingRule, TextEncoder, alternatives
from opendet.evaluation.predictions import ImagePrediction
from opendet.evaluation.reading import Judge, Reading
from opendet.evaluation.tiers import TIERS, TRAINED


@dataclass(frozen=True, slots=True)
class NamedSplit:
    """What is known of a split and what was found in it, image by image."""

    truths: Sequence[Truth]
    predictions: Sequence[ImagePrediction]
    vocabulary: Sequence[str]
    config: EvaluateConfig
    masks: MaskedSplit | None = None
    """None for a detector of boxes alone."""

    @property
    def objects(self) -> int:
        """Crowds aside."""
        return sum(int((~truth.crowd).sum()) for truth in self.truths)

    def numbers(self, encode_texts: TextEncoder, tiers: Mapping[str, str] | None) -> dict[str, Any]:
        """The part of the metrics that names decide; NaN where there is nothing to measure."""
        config = self.config
        rule = ReadingRule(config.reading, config.top_classes, config.temperature)
        others = alternatives(rule, config.temperatures)
        judge = Judge.of(encode_texts, self.vocabulary, config.template)
        main, *rest = judge.read(self.predictions, [rule, *others.values()])
        named = self._average_precision(main)
        apart = {
            name: self._apart(readings, self._average_precision(readings))
            for name, readings in zip(others, rest, strict=True)
        }
        first = apart.pop("first", None) or self._apart(main, named)
        return {
            "named_ap": _by_tier(named.ap, self.vocabulary, tiers),
            "named_ap50": _by_tier(named.ap50, self.vocabulary, tiers),
            **self._by_masks(main, tiers),
            **self._names(main),
            "first_beam": first,
            "alternatives": apart,
        }

    def _by_masks(
        self, readings: Sequence[Reading], tiers: Mapping[str, str] | None
    ) -> dict[str, Any]:
        if self.masks is None:
            return {}
        named = self.masks.named(readings, classes=len(self.vocabulary))
        return {
            "named_mask_ap": _by_tier(named.ap, self.vocabulary, tiers),
            "named_mask_ap50": _by_tier(named.ap50, self.vocabulary, tiers),
        }

    def _names(self, readings: Sequence[Reading]) -> dict[str, Any]:
        lemmatiser = find_lemmatiser()
        quality = name_quality(
            self.truths, self.predictions, self.vocabulary, lemmatiser, self.config.match_iou
        )
        shares = {
            "matched": share(quality.matched, self.objects),
            "exact": share(quality.exact, quality.matched),
            "any_beam": share(quality.any_beam, quality.matched),
            "lemma": share(quality.lemma, quality.matched),
            "similar": self._similar(readings),
        }
        return {"names": shares, "lemma_by": lemmatiser.by}

    def _similar(self, readings: Sequence[Reading]) -> float:
        similar = [
            reading.nearest[detection] == truth.classes[target]
            for truth, one, reading in zip(self.truths, self.predictions, readings, strict=True)
            for detection, target in match_boxes(truth, one.boxes_xyxy, self.config.match_iou)
        ]
        return share(sum(map(int, similar)), len(similar))

    def _apart(self, readings: Sequence[Reading], named: AveragePrecision) -> dict[str, float]:
        return {
            "named_ap": named.ap(),
            "named_ap50": named.ap50(),
            "similar": self._similar(readings),
        }

    def _average_precision(self, readings: Sequence[Reading]) -> AveragePrecision:
        return average_precision(
            self.truths,
            [one.predictions for one in readings],
            classes=len(self.vocabulary),
            max_detections=self.config.max_detections,
            per_class=self.config.per_class,
        )


def share(part: int, whole: int) -> float:
    return part / whole if whole else nan


def _by_tier(
    mean: Callable[[list[int] | None], float],
    vocabulary: Sequence[str],
    tiers: Mapping[str, str] | None,
) -> dict[str, float]:
    """A mean over all classes, over those that training names, and over each tier's."""
    if tiers is None:
        return {"all": mean(None)}
    of_name = [tiers.get(name, "unseen") for name in vocabulary]
    groups = {tier: [c for c, own in enumerate(of_name) if own == tier] for tier in TIERS}
    trained = [c for c, own in enumerate(of_name) if own in TRAINED]
    return {
        "all": mean(None),
        "trained": mean(trained),
        **{tier: mean(members) for tier, members in groups.items()},
    }
