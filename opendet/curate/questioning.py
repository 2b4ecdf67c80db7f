"""Asks a model that sees pixels what the build believes of some images, and reads its verdicts."""

from collections.abc import Sequence

from opendet.annotators.chat import CutAnswer, Unanswered, shortened
from opendet.annotators.verdicts import read_belief
from opendet.annotators.verifier import (
    DRAWING,
    Pictures,
    Question,
    VerifierSection,
    questions_of,
)
from opendet.curate.asking import Remembered, refused, subject
from opendet.curate.verified import Verdict, VerifiedRecord, rounded, with_beliefs
from opendet.manifest import QuarantinedEntry
from opendet.record import Provenance, Record
from opendet.sample import Dropped, Sample

QUESTIONS_AT_ONCE = 64
"""Each holds a picture: more than a model's batch, and few enough for any memory."""

Results = list[VerifiedRecord | Dropped | QuarantinedEntry]


def verify_by_asking(
    model: Remembered,
    samples: Sequence[Sample],
    tried: Sequence[tuple[str, ...]],
    config: VerifierSection,
) -> Results:
    """One result a sample. `tried`: the names that may be hard negatives of each.

    What the model refuses to judge stays without a belief; where the server was at fault, the whole
    image is to be tried again.
    """
    questions = [
        questions_of(sample.record, names, config)
        for sample, names in zip(samples, tried, strict=True)
    ]
    asked = [
        (sample, question)
        for sample, own in zip(samples, questions, strict=True)
        for question in own
    ]
    answers = iter(_answers(model, asked, config))
    said_by = Provenance(model.name, model.revision)
    return [
        _answered(sample.record, [(one, next(answers)) for one in own], said_by, config)
        for sample, own in zip(samples, questions, strict=True)
    ]


def _answers(
    model: Remembered, asked: Sequence[tuple[Sample, Question]], config: VerifierSection
) -> list[str | Unanswered]:
    answers: list[str | Unanswered] = []
    for start in range(0, len(asked), QUESTIONS_AT_ONCE):
        piece = asked[start : start + QUESTIONS_AT_ONCE]
        answers += model.ask(
            Pictures(piece, longest_side=config.longest_side),
            [question.prompt for _, question in piece],
            [_subject(sample.record, question, config) for sample, question in piece],
        )
    return answers


def _subject(record: Record, question: Question, config: VerifierSection) -> str:
    """What of the image the question shows, for the answer store."""
    return subject(
        record,
        window=question.shown.window_xyxy,
        drawn=question.shown.drawn_xyxy,
        longest_side=config.longest_side,
        drawing=DRAWING,
    )


def _answered(
    record: Record,
    answered: Sequence[tuple[Question, str | Unanswered]],
    said_by: Provenance,
    config: VerifierSection,
) -> VerifiedRecord | Dropped | QuarantinedEntry:
    for _, answer in answered:
        if isinstance(answer, Unanswered) and answer.may_pass:
            return refused(record.key, "verify", answer)
    verdicts = [_verdict(question, answer) for question, answer in answered]
    return with_beliefs(record, verdicts, said_by, least_belief=config.least_belief)


def _verdict(question: Question, answer: str | Unanswered) -> Verdict:
    asked = (question.kind, question.region, question.name, question.prompt)
    if isinstance(answer, Unanswered):
        why = f"{answer.reason}: {answer.detail}"
        return Verdict(*asked, None, why, "unanswered", question.version)
    belief = None if isinstance(answer, CutAnswer) else read_belief(answer)
    if belief is None:
        return Verdict(*asked, None, shortened(answer), "unread", question.version)
    return Verdict(*asked, rounded(belief), version=question.version)
