"""A vision-language model behind an OpenAI-compatible server: vLLM, SGLang, and many more.

Stands where `opendet.annotators.vision_language` stands. Many questions are open at once, so that
the server can batch them; the answers come back in order. Three kinds of failure are told apart:

- the sample's: the server refuses this image or prompt, or replies nonsense -> `Unanswered`
- the server's, which may pass (`opendet.annotators.server`): tried again, then `Unanswered` too
- the surroundings': nobody listens there, the key or the model is wrong, or nothing has been
  answered for long, or ever -> `UnusableServerError` ends the stage, and the next run goes on from
  there
"""

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2
from pydantic import BaseModel

from opendet.annotators.chat import (
    CutAnswer,
    Message,
    ServedModel,
    Unanswered,
    about_plain_picture,
    correction,
    fault_of,
    question,
    read_answer,
    read_models,
    request_body,
    unfenced,
    words_of,
)
from opendet.annotators.served_config import ServedConfig
from opendet.annotators.server import NOT_OFFERED, Reply, Server

if TYPE_CHECKING:
    from PIL.Image import Image

Answer = str | Unanswered
T = TypeVar("T")

WRONG_KEY = "it refuses the key: put the right one where served.api_key_variable says"
NO_SAMPLES_FAULT = {
    401: WRONG_KEY,
    402: "the account has no credit left: mend that",
    404: "it knows no such page or model: mend served.model, or served.address, which mostly ends "
    "with /v1",
    405: "it takes no questions there: mend served.address, which mostly ends with /v1",
}
"""Refusals that every question would meet, and how to mend them."""


class Served:
    """A model that is served elsewhere, asked like a loaded one.

    Holds no connection between two calls of `ask`, and nothing to close.
    """

    def __init__(self, config: ServedConfig, form: type[BaseModel] | None = None) -> None:
        """Asks the server which models it serves.

        With a `form`, each answer is JSON that this pydantic model has validated. Raises
        ValueError where the configuration is wrong, UnusableServerError where no server answers.
        """
        self._config, self._form = config, form
        self._server = Server(config)
        self._unanswered_in_a_row = 0
        self._has_answered = False
        self._model = _run(self._look_up())

    @property
    def name(self) -> str:
        """What provenance calls the model: the name it is served under, without folders."""
        return _without_folders(self._model.id)

    @property
    def served_as(self) -> str:
        """The name that the server knows it by."""
        return self._model.id

    @property
    def revision(self) -> str:
        """The configured one, else what the server tells: a revision, or what it has loaded."""
        root = _without_folders(self._model.root or "")
        told = self._model.revision or (root if root != self.name else "")
        return self._config.revision or told

    def ask(self, images: "Sequence[Image]", prompts: Sequence[str]) -> list[Answer]:
        """One answer for each RGB image and its prompt, in order, or why there is none.

        An answer may be empty; one that ran into `max_new_tokens` is a `CutAnswer`. Raises
        UnusableServerError where it is nobody's fault but the surroundings'.
        """
        assert len(images) == len(prompts), f"{len(images)} images, {len(prompts)} prompts"
        return _run(self._ask_all(list(zip(images, prompts, strict=True))))

    async def _ask_all(self, pairs: "Sequence[tuple[Image, str]]") -> list[Answer]:
        turns = asyncio.Semaphore(self._config.concurrency)

        async def in_turn(place: int, image: "Image", prompt: str) -> Answer:
            async with turns:
                image.load()  # threads may share it from here on
                messages = await asyncio.to_thread(question, image, prompt, self._config)
                return await self._answer(client, messages, place)

        try:
            async with self._server.connected() as client, asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(in_turn(place, image, prompt))
                    for place, (image, prompt) in enumerate(pairs)
                ]
        except ExceptionGroup as several:
            raise several.exceptions[0] from None  # the others say the same of other questions
        return [task.result() for task in tasks]

    async def _answer(
        self, client: httpx2.AsyncClient, messages: list[Message], place: int
    ) -> Answer:
        """The answer, in the form. One of a wrong form goes back once, with what is wrong."""
        answer = await self._said(client, messages, place)
        if self._form is None or isinstance(answer, Unanswered):
            return answer
        fault = fault_of(answer, self._form)
        if fault and not isinstance(answer, CutAnswer):
            answer = await self._said(client, messages + correction(answer, fault), place)
            if isinstance(answer, Unanswered):
                return answer
            fault = fault_of(answer, self._form)
        if not fault:
            return unfenced(answer)
        cut = isinstance(answer, CutAnswer)
        return Unanswered("answer cut" if cut else "answer of a wrong form", fault)

    async def _said(
        self, client: httpx2.AsyncClient, messages: list[Message], place: int
    ) -> Answer:
        """What the model says to a chat."""
        answer = await self._answer_to(client, messages, place)
        if not isinstance(answer, Unanswered):
            self._is_well()
        elif self._has_answered and not answer.may_pass:
            self._unanswered_in_a_row = 0  # it refuses this one, and so is well
        else:
            self._unanswered_in_a_row += 1
            await self._doubt(client, messages, place, answer)
        return answer

    def _is_well(self) -> None:
        self._has_answered, self._unanswered_in_a_row = True, 0

    async def _doubt(
        self, client: httpx2.AsyncClient, messages: list[Message], place: int, last: Unanswered
    ) -> None:
        """End a run that gets no answers, before a whole build is quarantined or dropped for it.

        What a server refuses before its first answer may be what it always refuses: a question
        about a plain picture tells whether the samples are to blame.
        """
        row, most = self._unanswered_in_a_row, self._config.give_up_after
        said = f"the last one for: {last.reason}, {last.detail}"
        if last.may_pass and row >= most:
            raise self._server.unusable(
                f"{row} questions in a row went unanswered, {said}; mend the server, or lower "
                "concurrency"
            )
        if last.may_pass or row != most:  # those in flight need no second plain picture
            return
        plain = about_plain_picture(messages, self._config)
        if isinstance(await self._answer_to(client, plain, place), Unanswered):
            raise self._server.unusable(
                f"it has answered none of {row} questions, nor one about a plain picture, {said}; "
                "mend served.model, the prompt, or how the server was started"
            )
        self._is_well()

    async def _answer_to(
        self, client: httpx2.AsyncClient, messages: list[Message], place: int
    ) -> Answer:
        body = request_body(self._model.id, messages, self._config, self._form)
        reply = await self._server.reply(client, "POST", "/chat/completions", body, place=place)
        return self._read(reply) if isinstance(reply, Reply) else reply

    def _read(self, reply: Reply) -> Answer:
        if reply.status == 200:
            return read_answer(reply.body)
        said = f"HTTP {reply.status}: {words_of(reply.body)}"
        if reply.status in NO_SAMPLES_FAULT or reply.status < 400:
            mend = NO_SAMPLES_FAULT.get(reply.status, "it sends questions elsewhere: name that")
            raise self._server.unusable(f"{mend} ({said})")
        return Unanswered("refused by the server", said)

    async def _look_up(self) -> ServedModel:
        async with self._server.connected() as client:
            reply = await self._server.reply(client, "GET", "/models")
        if isinstance(reply, Unanswered):
            raise self._server.unusable(f"{reply.reason}, {reply.detail}: mend the server")
        if reply.status in NOT_OFFERED:
            return _chosen(self._config.model, [], self._server.address)
        models = read_models(reply.body) if reply.status == 200 else None
        if models is None:
            mend = WRONG_KEY if reply.status in (401, 403) else "it lists no models: mend it"
            said = f"HTTP {reply.status}: {words_of(reply.body)}"
            raise self._server.unusable(f"{mend} ({said})")
        return _chosen(self._config.model, models, self._server.address)


def _chosen(wanted: str, models: list[ServedModel], address: str) -> ServedModel:
    """The model that is asked: the one of that name, or the only one."""
    names = [model.id for model in models]
    if wanted in names:
        return models[names.index(wanted)]
    if not wanted and len(models) == 1:
        return models[0]
    if not wanted:
        there = f"{len(models)} models ({', '.join(names[:5])})" if models else "no known model"
        raise ValueError(
            f"served.model is empty, and {address} serves {there}: name a model; the address "
            "mostly ends with /v1"
        )
    if models:
        [near] = get_close_matches(wanted, names, n=1, cutoff=0.0)
        raise ValueError(f"served.model: {address} serves no {wanted!r}; did you mean {near!r}?")
    return ServedModel(id=wanted)  # a server that tells of none may well have it


def _without_folders(model: str) -> str:
    """A model that is served from a folder is called by its last part: builds name no machine."""
    return model.rstrip("/").rpartition("/")[2] if model.startswith(("/", "~", ".")) else model


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end in a loop of its own, also where this thread runs one (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
