"""The vision-language model: what it says of an image, and where it looked as it said so.

It answers as usual, several questions at a time. Then each question and its answer go through it
once more, alone, and the attention is gathered on the way (`attention.gathered`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opendet.annotators.batching import in_batches
from opendet.annotators.image_text import conversation, load_image_text, require_chat_template
from opendet.annotators.model_folder import called, chosen_device, weights_of
from opendet.annotators.noun_phrases import NounPhrases, Span
from opendet.vl_sam.attention import gathered
from opendet.vl_sam.config import VlSamConfig
from opendet.vl_sam.heatmaps import NamedMap
from opendet.vl_sam.naming import described_names, listed_names, own_questions
from opendet.vl_sam.tokens import FAMILIES, image_tokens, token_spans, tokens_at

if TYPE_CHECKING:
    from PIL.Image import Image

PLACE = "regions.detectors."
"""How errors begin, before the name of the knob."""
MEND = "name a folder that holds such a model, or a hub name while the hub answers"
ASK_FOR_QUESTIONS = (
    "Write {count} different questions, one a line, that ask somebody to list all the objects in "
    "an image. Write nothing else."
)


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that is asked."""

    words: str
    image: "Image | None"
    """RGB; None where no image is asked about."""
    seed: int = 0
    """Of a sampled answer."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, token by token, without the mark that ends it."""

    tokens: tuple[int, ...]
    cut: bool
    """Whether it has no end of its own: it ran into `max_new_tokens`, or wrote an image's mark."""


class Speaker:
    """A loaded model of one of the families whose tokens are known."""

    def __init__(self, config: VlSamConfig, place: str = PLACE) -> None:
        """Raises ValueError, in one line, where there is no such model, and for one whose attention
        cannot be read."""
        self._config = config
        self._device = chosen_device(config.device)
        self._processor, self._model = load_image_text(
            config,
            self._device,
            key=f"{place}model",
            mend=MEND,
            check_family=_require_family,
            check_processor=require_chat_template,
        )
        self._phrases = NounPhrases("grammar") if config.answers == "phrases" else None
        ends = self._model.generation_config.eos_token_id
        self._ends = {ends} if isinstance(ends, int) else set(ends or ())
        marks = (
            getattr(self._model.config, f"{kind}_token_id", None) for kind in ("image", "video")
        )
        self._marks = {mark for mark in marks if mark is not None}
        self.name = called(config.model)
        self._told = f"{place}model: {self.name}"
        self.revision = weights_of(config.model, config.revision, self._model)
        self.refused: Counter[str] = Counter()
        """Why answers, or names in them, led to no map."""
        # Whether its attention can be read is known now, and not image by image.
        gathered(self._model, self._inputs([Question("What?", None)]), self._told)

    def questions(self) -> tuple[str, ...]:
        """All that is asked of each view: what was configured, and what the model writes itself."""
        count = self._config.own_questions
        if not count:
            return self._config.questions
        asked = Question(ASK_FOR_QUESTIONS.format(count=count), None, self._config.seed)
        [said] = self.answers([asked])
        written = own_questions(self.text(said), count)
        self._refuse("question not written", count - len(written))
        return tuple(dict.fromkeys((*self._config.questions, *written)))

    def answers(self, questions: Sequence[Question]) -> list[Said]:
        """One for each, in order: the likeliest words, or sampled from each question's own seed."""
        if not self._config.temperature:
            return in_batches(questions, self._config.batch_size, self._answers)
        return [self._sampled(question) for question in questions]

    def text(self, said: Said) -> str:
        return token_spans(self._processor.tokenizer, said.tokens)[0]

    def maps(self, question: Question, said: Said) -> list[NamedMap]:
        """Where the model looked as it wrote each name; none where it named nothing."""
        text, spans = token_spans(self._processor.tokenizer, said.tokens)
        names = self._names(text, cut=said.cut)
        if not names:
            return []
        assert question.image is not None
        inputs = continued(self._inputs([question]), said.tokens)
        seen = image_tokens(
            self._model.config, self._processor, inputs, question.image.size, self._told
        )
        # alone in its batch, so that too little memory for it is told as that
        [flow] = in_batches([inputs], 1, lambda _: [gathered(self._model, inputs, self._told)])
        begin = len(flow) - len(said.tokens)  # the answer's first token
        maps = []
        for name, where in names.items():
            rows = [begin + number for number in tokens_at(spans, where)]
            attended = flow[rows].mean(0)[seen.places].reshape(seen.rows, seen.columns)
            maps.append(NamedMap(name, attended.cpu().numpy(), seen.shown_xyxy))
        return maps

    def _names(self, text: str, *, cut: bool) -> dict[str, Span]:
        if self._phrases is not None:
            found, unplaced = described_names(text, self._phrases), 0
        else:
            found, unplaced = listed_names(text, unfinished=cut)
        self._refuse("name in other words than the answer's", unplaced)
        self._refuse("nothing named", not found and not unplaced)
        return found

    def _refuse(self, reason: str, count: int) -> None:
        if count:
            self.refused[reason] += count

    def _sampled(self, question: Question) -> Said:
        import torch

        with torch.random.fork_rng([self._model.device] if self._device == "cuda" else []):
            torch.manual_seed(question.seed)
            [said] = self._answers([question])
        return said

    def _answers(self, questions: Sequence[Question]) -> list[Said]:
        import torch

        inputs = self._inputs(questions)
        with torch.inference_mode():
            tokens = self._model.generate(**inputs, **_choice(self._config))
        return [self._said(row) for row in tokens[:, inputs["input_ids"].shape[1] :].tolist()]

    def _said(self, row: list[int]) -> Said:
        # Where a model babbles of an image that is not there, it cannot be read any further.
        stops = self._ends | self._marks
        end = next((n for n, token in enumerate(row) if token in stops), len(row))
        return Said(tuple(row[:end]), cut=not self._ends.intersection(row[end : end + 1]))

    def _inputs(self, questions: Sequence[Question]) -> Any:
        """What the model takes, prompts padded to one length."""
        return self._processor.apply_chat_template(
            [conversation(one.image, one.words) for one in questions],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            # a fresh dictionary each time, as transformers 5 changes the one it gets
            processor_kwargs={"padding": True},
        ).to(self._device, self._model.dtype)


def continued(inputs: Mapping[str, Any], answer: Sequence[int]) -> dict[str, Any]:
    """The inputs of one question as if its answer were a part of it: (1, T) -> (1, T + A)."""
    import torch

    prompt = inputs["input_ids"]
    said = prompt.new_tensor([list(answer)])
    longer = dict(inputs)
    for key, filling in (("attention_mask", 1), ("mm_token_type_ids", 0), ("token_type_ids", 0)):
        if key in longer:
            longer[key] = torch.cat((longer[key], torch.full_like(said, filling)), 1)
    return longer | {"input_ids": torch.cat((prompt, said), 1)}


def _choice(config: VlSamConfig) -> dict[str, Any]:
    """How `generate` chooses words."""
    how: dict[str, Any] = {"max_new_tokens": config.max_new_tokens, "num_beams": 1}
    if not config.temperature:
        return how | {"do_sample": False}
    sampling = {"temperature": config.temperature, "top_p": config.top_p, "top_k": 0}
    return how | {"do_sample": True} | sampling


def _require_family(family: str) -> None:
    if family not in FAMILIES:
        raise ValueError(f"it is a {family}, not one of {', '.join(FAMILIES)}")
