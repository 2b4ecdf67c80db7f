"""Models that answer with boxes in text, as a finder: Qwen-VL, Florence-2, Kosmos-2.

A question names what to look for, or asks for anything; the answer is read by `box_answers`. Such
models give no score with a box: every box of an answer has the answer's, the geometric mean of the
chances that the model gave the answer's tokens, exp(mean log p). It tells sure answers from unsure
ones of one model, and is no chance of the box to be right.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from opendet.annotators.batching import in_batches
from opendet.annotators.box_dialects import (
    PROMPTS,
    Dialect,
    check_family,
    check_processor,
    parsed,
    plain,
    questions,
)
from opendet.annotators.detection import FinderSection, Found
from opendet.annotators.image_text import conversation, load_image_text
from opendet.annotators.model_folder import called, chosen_device, weights_of
from opendet.annotators.scored_boxes import LEAST_SIDE

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

KEY = "regions.detectors"
MEND = "name a folder that holds a model of that dialect, or a hub name while the hub answers"

log = logging.getLogger(__name__)


class BoxSpeakerConfig(FinderSection):
    """Which model is asked for boxes, and how."""

    annotator: Literal["boxes_in_text"] = "boxes_in_text"
    """Which detector this is."""
    dialect: Dialect = "qwen2_5"
    """How the model writes a box."""
    prompt: str = ""
    """The question, {names} where the names belong; without it the model is asked once an image
    for whatever it sees, and its own names are kept. Empty: the dialect's own question."""
    max_new_tokens: int = Field(default=1024, ge=1)
    """Longest answer, in tokens; of one that is cut off, the whole boxes count."""


@dataclass(frozen=True, slots=True)
class _Question:
    image: "Image"
    names: tuple[str, ...]
    """Empty where the model is asked for anything."""
    prompt: str


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    score: float
    shown_wh: tuple[int, int] | None
    """Pixels of the image as the model was shown it; None where the dialect does not count them."""


class BoxSpeaker:
    """A loaded model. It answers greedily: the same batch gets the same answers."""

    def __init__(self, config: BoxSpeakerConfig) -> None:
        """Raises ValueError, in one line, where there is no such model."""
        self._config = config
        self._prompt = config.prompt or PROMPTS[config.dialect]
        self._device = chosen_device(config.device)
        self._processor, self._model = load_image_text(
            config,
            self._device,
            key=KEY,
            mend=MEND,
            check_family=partial(check_family, dialect=config.dialect),
            check_processor=partial(check_processor, dialect=config.dialect),
        )
        self.name = called(config.model)
        self.revision = weights_of(config.model, config.revision, self._model)
        self.refused: Counter[str] = Counter()
        """Why things in the answers were no boxes, since the model was loaded: the reasons of
        `box_answers`, and `not asked for`."""

    def find(
        self, images: "Sequence[Image]", names: Sequence[tuple[str, ...]]
    ) -> list[list[Found]]:
        """What the model says of each image, the surest first. See `detection.Finder`."""
        assert len(images) == len(names), f"{len(images)} images, {len(names)} lists of names"
        asked = [
            (place, question)
            for place, (image, wanted) in enumerate(zip(images, names, strict=True))
            for question in self._questions(image, wanted)
        ]
        size = self._config.batch_size
        answers = in_batches([question for _, question in asked], size, self._answers)
        found: list[list[Found]] = [[] for _ in images]
        for (place, question), answer in zip(asked, answers, strict=True):
            found[place] += self._read(question, answer)
        for one in found:
            one.sort(key=lambda thing: -thing.score)  # stable: an answer keeps its order
        return [one[: self._config.most] for one in found]

    def _questions(self, image: "Image", names: tuple[str, ...]) -> list[_Question]:
        config = self._config
        asked = questions(
            self._prompt, names, dialect=config.dialect, at_once=config.names_per_call
        )
        return [_Question(image, piece, prompt) for prompt, piece in asked]

    def _answers(self, questions: Sequence[_Question]) -> list[_Answer]:
        """Asked together; B questions of T tokens at most."""
        import torch

        inputs = self._inputs([one.image for one in questions], [one.prompt for one in questions])
        inputs = inputs.to(self._device, self._model.dtype)
        chances = _Chances()
        with torch.inference_mode():
            tokens = self._model.generate(
                **inputs,
                max_new_tokens=self._config.max_new_tokens,
                do_sample=False,
                num_beams=1,
                logits_processor=[chances],
            )
        written = len(chances.steps)
        tokens, sure = tokens[:, tokens.shape[1] - written :], torch.stack(chances.steps, 1)
        lengths = self._lengths(tokens)
        shown = self._shown(inputs, len(questions))
        return [
            _Answer(self._decoded(row[: length - ended]), _score(log_p[:length]), size)
            for row, log_p, (length, ended), size in zip(tokens, sure, lengths, shown, strict=True)
        ]

    def _inputs(self, images: "Sequence[Image]", prompts: Sequence[str]) -> Any:
        """What the model takes, prompts padded to one length."""
        if self._config.dialect in ("florence2", "kosmos2"):
            return self._processor(
                images=list(images), text=list(prompts), padding=True, return_tensors="pt"
            )
        return self._processor.apply_chat_template(
            [conversation(image, prompt) for image, prompt in zip(images, prompts, strict=True)],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            # a fresh dictionary each time, as transformers 5 changes the one it gets
            processor_kwargs={"padding": True},
        )

    def _lengths(self, tokens: "Tensor") -> list[tuple[int, int]]:
        """Of each answer: its tokens, and 1 if the last of them ends it, else 0."""
        # Kosmos-2 hands the writing to its text model.
        writer = getattr(self._model, "text_model", self._model)
        ends = writer.generation_config.eos_token_id
        ends = {ends} if isinstance(ends, int) else set(ends or ())
        places = [
            next((n for n, token in enumerate(row) if token in ends), None)
            for row in tokens.tolist()
        ]
        return [(tokens.shape[1], 0) if n is None else (n + 1, 1) for n in places]

    def _shown(self, inputs: Any, count: int) -> list[tuple[int, int] | None]:
        if self._config.dialect != "qwen2_5":
            return [None] * count
        side = self._processor.image_processor.patch_size
        return [(side * w, side * h) for _, h, w in inputs["image_grid_thw"].tolist()]

    def _decoded(self, tokens: "Tensor") -> str:
        # The marks of boxes are special tokens, and some tokenizers put blanks around them.
        text: str = self._processor.tokenizer.decode(tokens, skip_special_tokens=False)
        return text

    def _read(self, question: _Question, answer: _Answer) -> list[Found]:
        boxes = parsed(self._config.dialect, question.prompt, answer.text, answer.shown_wh)
        refused = Counter(boxes.refused)
        width, height = question.image.size
        wanted = {plain(name): name for name in question.names}
        found = []
        for said, (x0, y0, x1, y1) in boxes.found:
            name = wanted.get(plain(said)) if wanted else said
            box_xyxy = x0 * width, y0 * height, x1 * width, y1 * height
            if name is None:
                refused["not asked for"] += 1
            elif min((x1 - x0) * width, (y1 - y0) * height) < LEAST_SIDE:
                refused["degenerate"] += 1
            elif answer.score >= self._config.floor:
                found.append(Found(box_xyxy, name, answer.score))
        self.refused += refused
        log.debug("%d boxes read, refused: %s", len(found), dict(refused))
        return found


class _Chances:
    """Notes the log-probability of each token as it is chosen, and changes nothing.

    `generate` could return all logits instead: of a long answer, gigabytes.
    """

    def __init__(self) -> None:
        self.steps: list[Tensor] = []
        """(B) a token; of greedy choice, the greatest."""

    def __call__(self, input_ids: "Tensor", scores: "Tensor") -> "Tensor":
        del input_ids
        self.steps.append(scores.float().log_softmax(-1).amax(-1))
        return scores


def _score(log_p: "Tensor") -> float:
    """(T) log-probabilities of an answer's tokens -> their geometric mean, in [0, 1]."""
    score = float(log_p.mean().exp())
    if not 0 <= score <= 1 + 1e-6:
        raise ValueError(
            "the score of an answer with boxes is no number: take dtype float32, or another model"
        )
    return min(score, 1.0)
