"""Which model a stage asks about pixels, and what becomes of its answers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, cast

from opendet.annotators.answers import clean_answer
from opendet.annotators.chat import CutAnswer, Unanswered
from opendet.annotators.served_config import ServedConfig
from opendet.annotators.vision_language import VisionLanguage, VisionLanguageConfig
from opendet.annotators.weights import folder_digest
from opendet.answers.memory import AnswerPlace, Memory
from opendet.answers.store import question_key
from opendet.curate.prompting import Prompt, with_prompts
from opendet.manifest import QuarantinedEntry
from opendet.record import BoxXYXY, Provenance, Record
from opendet.sample import Dropped
from opendet.section import Section

if TYPE_CHECKING:
    from PIL.Image import Image

Language = Literal["english", "any"]
T = TypeVar("T", bound=Section)

LONGEST_ANSWER = 20_000
"""Characters; the stages cut as they are configured."""
CLEANED_OF = "cleaned of "
UNANSWERED = "no answer: "
MODELS = ("vision_language", "served")
"""The annotators that are shown pixels, each with a section of its name."""


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


SHOWING = "1"
"""Goes up when our code shows a model another picture for the same question."""


class Remembered:
    """A model that is asked only what the answer store does not know."""

    def __init__(self, model: Asked, how: dict[str, Any], place: AnswerPlace) -> None:
        """`how`: what besides the model decides its answers."""
        self._model = model
        kind = {"answers": "text", "model": model.name, "revision": model.revision, **how}
        kind["showing"] = SHOWING
        self._memory = Memory(place, kind)

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def revision(self) -> str:
        return self._model.revision

    def ask(
        self, images: "Sequence[Image]", prompts: Sequence[str], subjects: Sequence[str]
    ) -> Sequence[str | Unanswered]:
        """An answer to each image and prompt. `subjects` says, by `subject`, what each image
        is, so that its answer is found again."""
        keys = [
            question_key(subject=about, prompt=prompt)
            for about, prompt in zip(subjects, prompts, strict=True)
        ]
        return self._memory.recall(
            keys,
            lambda places: self._model.ask(
                [images[place] for place in places], [prompts[place] for place in places]
            ),
            to_json=_to_json,
            from_json=_from_json,
        )


def subject(record: Record, box_xyxy: BoxXYXY | None = None, **shown: Any) -> str:
    """What of an image a model is shown: its file's bytes, the box, and how it was cut out."""
    return question_key(image=record.sha256, box_xyxy=box_xyxy, **shown)


def _to_json(answer: str | Unanswered) -> Any:
    if isinstance(answer, Unanswered):
        return None
    return {"text": str(answer), "cut": isinstance(answer, CutAnswer)}


def _from_json(value: Any) -> str | Unanswered:
    return CutAnswer(value["text"]) if value["cut"] else str(value["text"])


def looks(annotator: str) -> bool:
    """Whether it must be shown pixels."""
    return annotator in MODELS


def settled(stage: str, config: T, root: Path) -> T:
    """The section of a stage that may ask a model, as the stage is to run with it.

    Prompts that it names by file are read below `root`. A served model that it leaves open gets the
    name and the revision that the server tells, so that another model is another stage. What it
    says of models that are not in use is set to the defaults, and counts in no fingerprint. Raises
    ValueError, or ConnectionError for a server, in one line, where that cannot be.
    """
    try:
        read = with_prompts(config, root / "configs")
    except ValueError as error:
        raise ValueError(f"{stage}.{error}") from error
    asking, fields = cast(Asking, config), type(config).model_fields
    models: dict[str, Section] = {
        name: fields[name].get_default() for name in MODELS if name != asking.annotator
    }
    if asking.annotator == "served" and not asking.served.model:
        models["served"] = _named(asking.served)
    return read.model_copy(update=models)


def _named(served: ServedConfig) -> ServedConfig:
    from opendet.annotators.served import Served

    model = Served(served)
    return served.model_copy(update={"model": model.served_as, "revision": model.revision})


def load_asked(config: Asking, place: AnswerPlace | None = None) -> Remembered | None:
    """The model behind its answer store; None for an annotator that looks at no pixels.

    Raises ValueError, or ConnectionError for a server, in one line, where there is none.
    """
    place = place or AnswerPlace()
    match config.annotator:
        case "vision_language":
            local = config.vision_language
            how = local.model_dump(mode="json", include={"dtype", "max_new_tokens"})
            return Remembered(VisionLanguage(local), how, place)
        case "served":
            from opendet.annotators.served import Served  # an HTTP client, which few builds need

            how = config.served.model_dump(mode="json", exclude={"model", "revision"})
            served = Served(config.served)
            return Remembered(served, {**how, "served_as": served.served_as}, place)
    return None


def weights_of(config: Asking) -> dict[str, str]:
    """What a stage's fingerprint says of a model in a folder: other weights under the same name
    are another model."""
    folder = Path(config.vision_language.model).expanduser()
    if config.annotator == "vision_language" and config.vision_language.model and folder.is_dir():
        return {"vision_language": folder_digest(folder)}
    return {}


def origin(model: Remembered, prompt: Prompt) -> Provenance:
    """Where an answer comes from. A prompt's version stands behind the model's."""
    said_by = Provenance(model.name, model.revision, prompt.text)
    return noted(said_by, f"prompt {prompt.version}") if prompt.version else said_by


def noted(said_by: Provenance, what: str) -> Provenance:
    """An origin that tells one thing more."""
    return replace(said_by, revision=f"{said_by.revision}, {what}".removeprefix(", "))


def cleaned(
    answer: str, said_by: Provenance, language: Language, *, keep_name: bool = False
) -> tuple[str, Provenance]:
    """What of an answer can be used, and its origin, which tells what was taken out of it.

    `keep_name` is for an answer about one thing, whose name stays where it is a guess.
    """
    result = clean_answer(
        answer,
        max_characters=LONGEST_ANSWER,
        language=language,
        unfinished=isinstance(answer, CutAnswer),
        keep_name=keep_name,
    )
    if not result.reasons:
        return result.text, said_by
    return result.text, noted(said_by, f"{CLEANED_OF}{' and '.join(result.reasons)}")


def without_answer(said_by: Provenance, answer: Unanswered) -> Provenance:
    """The origin of a text that is not there, for the model has not said one."""
    return noted(said_by, f"{UNANSWERED}{answer.reason}")


def unanswered(said_by: Provenance) -> str:
    """Why there is no answer, from its origin; empty where there is one."""
    return said_by.revision.partition(UNANSWERED)[2].partition(",")[0]


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
