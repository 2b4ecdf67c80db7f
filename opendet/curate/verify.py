"""The stage `verify`: is what the build believes so? A verifier's belief in each pseudo-label.

It measures and refuses nothing: the stage `filter` decides. A vision-language model is asked about
every named region (the right name? a tight box?), about every name of an image (all of its things
found?) and about names that may be hard negatives of it (there after all?). The build's CLIP has
no opinion on boxes and counts; its belief in a name is made of what the stage `embed` measured:

    belief = sigmoid(clip_scale * (agreement - rival_agreement - clip_margin))

which at CLIP's own temperature is its softmax over the name and the best other one.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from opendet.annotators.served_config import ServedConfig
from opendet.annotators.verifier import VerifierSection, is_checked
from opendet.annotators.vision_language import VisionLanguageConfig
from opendet.answers.memory import AnswerPlace
from opendet.curate.asking import load_asked, looks
from opendet.curate.embed import EmbedConfig
from opendet.curate.hard_negatives import HardNegatives, Near, sigmoid
from opendet.curate.questioning import Results, verify_by_asking
from opendet.curate.verified import Verdict, VerifiedRecord, rounded, with_beliefs
from opendet.record import Record, Region
from opendet.sample import Sample


class VerifyConfig(VerifierSection):
    """Who verifies, what it is asked, and how many hard negatives are looked for."""

    annotator: Literal["none", "clip", "vision_language", "served"] = "none"
    """`none` verifies nothing; `clip` takes the belief in a name from what `embed` measured;
    `vision_language` asks a model that each worker loads, `served` one behind an
    OpenAI-compatible server."""
    splits: tuple[str, ...] = ("train",)
    """Splits that are verified: the filter leaves the others alone."""
    hard_negatives: int = Field(default=0, ge=0, le=100)
    """Names of the build's vocabulary that are tried for each image; those that the verifier
    believes absent stay in its record."""
    hard_negatives_near: Near = "names"
    """What they are near to in CLIP's space: the image's `names`, or its `crops` (each crop's best
    other name)."""
    absent_below: float = Field(default=0.2, ge=-1, le=1)
    """CLIP believes a name absent where its cosine with the image and with each region is lower;
    published models give true pairs about 0.2 to 0.3. Each model that a build trains has cosines of
    its own: 0.65 suits the demo's."""
    clip_scale: float = Field(default=100.0, gt=0)
    """How fast CLIP's belief grows with a cosine; 100 is what published models have learned."""
    clip_margin: float = Field(default=0.0, ge=-2, le=2)
    """How much closer than its rival a name is to its crop where CLIP's belief in it is 0.5."""
    clip: EmbedConfig = EmbedConfig()
    """How CLIP runs, where hard negatives are looked for."""
    vision_language: VisionLanguageConfig = VisionLanguageConfig(max_new_tokens=24)
    """The model that `annotator: vision_language` asks."""
    served: ServedConfig = ServedConfig(max_new_tokens=24)
    """The server that `annotator: served` asks."""

    @model_validator(mode="after")
    def _somebody_looks_for_negatives(self) -> Self:
        if self.hard_negatives and self.annotator == "none":
            raise ValueError("hard_negatives need a verifier: set annotator, or hard_negatives: 0")
        return self

    @property
    def looks(self) -> bool:
        """Whether pixels are needed."""
        return looks(self.annotator) or self.hard_negatives > 0

    @property
    def on_gpu(self) -> bool:
        """Whether workers have a model that may run on one."""
        with_clip = self.hard_negatives > 0 and self.clip.device != "cpu"
        return self.annotator == "vision_language" or with_clip


class Verifier:
    """Verifies the records of the configured splits; the others pass as they are."""

    def __init__(
        self,
        config: VerifyConfig,
        clip_folder: Path | None = None,
        vocabulary: tuple[str, ...] = (),
        place: AnswerPlace | None = None,
    ) -> None:
        """`clip_folder`: of the stage `clip`, and `vocabulary`: the names that hard negatives come
        from; neither is needed without them. `place`: where a model's answers are kept.

        Raises ValueError where a model cannot be loaded, ConnectionError where its server cannot be
        asked.
        """
        self._config = config
        self._model = load_asked(config, place)
        self._negatives: HardNegatives | None = None
        if config.hard_negatives:
            assert clip_folder is not None, "hard negatives come from the stage `clip`"
            self._negatives = HardNegatives(clip_folder, vocabulary, config.clip)

    def __call__(self, samples: Sequence[Sample]) -> Results:
        if self._config.annotator == "none":
            return [VerifiedRecord(sample.record) for sample in samples]
        chosen = [one for one in samples if one.record.split in self._config.splits]
        tried = [self._tried(one.record) for one in chosen]
        verified = {result.key: result for result in self._verified(chosen, tried)}
        return [verified.get(one.key, VerifiedRecord(one.record)) for one in samples]

    def _tried(self, record: Record) -> tuple[str, ...]:
        if self._negatives is None:
            return ()
        most, near = self._config.hard_negatives, self._config.hard_negatives_near
        return self._negatives.proposed(record, most=most, near=near)

    def _verified(self, samples: Sequence[Sample], tried: Sequence[tuple[str, ...]]) -> Results:
        if self._model is not None:
            return verify_by_asking(self._model, samples, tried, self._config)
        matches = self._negatives.matches(samples, tried) if self._negatives else [[]] * len(tried)
        return [
            verify_by_clip(sample.record, dict(zip(names, own, strict=True)), self._config)
            for sample, names, own in zip(samples, tried, matches, strict=True)
        ]


# --- CLIP, which the build has measured already


def verify_by_clip(
    record: Record, matches: Mapping[str, float], config: VerifyConfig
) -> VerifiedRecord:
    """The record with CLIP's belief in its names, and in the absence of some that are tried.

    `matches`: each of those, and its highest cosine with the image or one of its regions.
    """
    verdicts: list[Verdict] = []
    said_by = next((one.agreement_from for one in record.regions if one.agreement_from), None)
    if said_by is None:  # Nothing has a name, so no name is near to one.
        return VerifiedRecord(record)
    for index, region in enumerate(record.regions):
        if (belief := clip_belief(region, config)) is not None:
            verdicts.append(Verdict("name", index, region.names[0], said_by.prompt, belief))
    for name, match in matches.items():
        there = rounded(sigmoid(config.clip_scale * (match - config.absent_below)))
        verdicts.append(Verdict("there", -1, name, said_by.prompt, there))
    return with_beliefs(record, verdicts, said_by, least_belief=config.least_belief)


def clip_belief(region: Region, config: VerifyConfig) -> float | None:
    """That the region's name is right, in [0, 1]; None where nothing was measured, or where the
    vocabulary has no other name to compare it with."""
    agreement, rival = region.agreement, region.rival_agreement
    if not is_checked(region) or agreement is None or rival is None:
        return None
    margin = agreement - rival - config.clip_margin
    return rounded(sigmoid(config.clip_scale * margin)) if math.isfinite(margin) else None
