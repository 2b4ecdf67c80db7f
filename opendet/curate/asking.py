"""Which model a stage asks about pixels, and what becomes of its answers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol

from opendet.annotators.answers import clean_answer
from opendet.annotators.chat import CutAnswer, Unanswered
from opendet.annotators.served_config import ServedConfig
from opendet.annotators.vision_language import VisionLanguage, VisionLanguageConfig
from opendet.manifest import QuarantinedEntry
from opendet.record import Provenance
from opendet.sample import Dropped

if TYPE_CHECKING:
    from PIL.Image import Image

Language = Literal["english", "any"]

LONGEST_ANSWER = 20_000
"""Characters; the stages cut as they are configured."""
CLEANED_OF = "cleaned of "


class Asked(Protocol):
    """A model that answers questions about images."""

    @property
    def name(self) -> str: ...

    @property
    def revision(self) -> str: ...

    def ask(
        self, images: "Sequence[Image]", prompts: Sequence[str]
    ) -> Sequence[str | Unanswered]: ...


class Asking(Protocol):
    """A section of the configuration that says who is asked."""

    @property
    def annotator(self) -> str: ...

    @property
    def vision_language(self) -> VisionLanguageConfig: ...

    @property
    def served(self) -> ServedConfig: ...


def looks(annotator: str) -> bool:
    """Whether it must be shown pixels."""
    return annotator in ("vision_language", "served")


def load_asked(config: Asking) -> Asked | None:
    """The model; None for an annotator that looks at no pixels.

    Raises ValueError, or ConnectionError for a server, in one line, where there is none.
    """
    match config.annotator:
        case "vision_language":
            return VisionLanguage(config.vision_language)
        case "served":
            from opendet.annotators.served import Served  # an HTTP client, which few builds need

            return Served(config.served)
    return None


def cleaned(answer: str, said_by: Provenance, language: Language) -> tuple[str, Provenance]:
    """What of an answer can be used, and its origin, which tells what was taken out of it."""
    unfinished = isinstance(answer, CutAnswer)
    result = clean_answer(
        answer, max_characters=LONGEST_ANSWER, language=language, unfinished=unfinished
    )
    if not result.reasons:
        return result.text, said_by
    told = f"{said_by.revision}, {CLEANED_OF}{' and '.join(result.reasons)}".removeprefix(", ")
    return result.text, replace(said_by, revision=told)


def cleanings(said_by: Provenance) -> tuple[str, ...]:
    """What an answer was cleaned of, from its origin."""
    _, found, told = said_by.revision.partition(CLEANED_OF)
    return tuple(told.partition(",")[0].split(" and ")) if found else ()


def refused(key: str, stage: str, answer: Unanswered) -> Dropped | QuarantinedEntry:
    """What becomes of a sample that the model gave no answer for: one that may have it later, when
    the server is well, waits for `opendet data retry`."""
    if answer.may_pass:
        return QuarantinedEntry(key, stage, f"{answer.reason}: {answer.detail}", 0)
    return Dropped(key, answer.reason, answer.detail)
