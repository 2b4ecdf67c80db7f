"""The wire of a chat with an image: what is sent, and what a reply says, whatever it holds.

Pure functions; who sends and how often is `opendet.annotators.served`.
"""

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from opendet.annotators.served_config import ServedConfig
from opendet.curate.text import clean_text

if TYPE_CHECKING:
    from PIL.Image import Image

Message = dict[str, Any]

LONGEST_DETAIL = 200
"""Characters that are kept of a server's words."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Why a question has no answer."""

    reason: str
    """A short stable phrase that can be counted, such as `refused by the server`."""
    detail: str = ""
    """The server's words, shortened to one line."""
    may_pass: bool = False
    """Whether the server was at fault, so that the same question may find its answer later."""


class CutAnswer(str):
    """An answer that ran into `max_new_tokens`: its last sentence may lack its end."""

    __slots__ = ()


def data_url(image: "Image", config: ServedConfig) -> str:
    """The image in RGB and no larger than configured, as text."""
    sent = image.convert("RGB")
    if max(sent.size) > config.longest_side:
        sent.thumbnail((config.longest_side, config.longest_side))
    content = io.BytesIO()
    if config.image_format == "png":
        sent.save(content, "PNG")
    else:
        sent.save(content, "JPEG", quality=config.jpeg_quality)
    encoded = base64.b64encode(content.getvalue()).decode()
    return f"data:image/{config.image_format};base64,{encoded}"


def question(image: "Image", prompt: str, config: ServedConfig) -> list[Message]:
    """A chat that asks one thing about one image."""
    picture = {"type": "image_url", "image_url": {"url": data_url(image, config)}}
    return [{"role": "user", "content": [picture, {"type": "text", "text": prompt}]}]


def about_plain_picture(messages: list[Message], config: ServedConfig) -> list[Message]:
    """The chat's first question, about a small grey picture."""
    from PIL import Image

    [prompt] = [part["text"] for part in messages[0]["content"] if part["type"] == "text"]
    return question(Image.new("RGB", (64, 64), (128, 128, 128)), prompt, config)


def correction(answer: str, fault: str) -> list[Message]:
    """How the chat goes on after an answer that does not have the form that was asked for."""
    said = f"That answer does not fit the schema: {fault}. Answer with the JSON object alone."
    return [{"role": "assistant", "content": answer}, {"role": "user", "content": said}]


def request_body(
    model: str, messages: list[Message], config: ServedConfig, form: type[BaseModel] | None
) -> dict[str, Any]:
    """The JSON of one request; a `form` asks the server for JSON of that schema."""
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "max_tokens": config.max_new_tokens,
        "temperature": config.temperature,
        "seed": config.seed,
        "stream": False,
    }
    if form is not None:
        schema = {"name": form.__name__, "schema": form.model_json_schema(), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


class _Part(BaseModel):
    text: str = ""


class _Message(BaseModel):
    content: str | list[_Part] | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice]


class ServedModel(BaseModel):
    """What a server tells of a model; `root` is where it was loaded from, to vLLM and SGLang."""

    id: str
    root: str | None = None
    revision: str | None = None


class _Models(BaseModel):
    data: list[ServedModel]


def read_answer(body: bytes) -> str | Unanswered:
    """The answer in a reply of status 200, or what is wrong with the reply. Never raises."""
    try:
        choices = _Completion.model_validate_json(body).choices
    except ValidationError:
        reason = "error in the reply" if _tells_error(body) else "unreadable reply"
        return Unanswered(reason, words_of(body))
    if not choices:
        return Unanswered("no answer in the reply", "no choices")
    choice = choices[0]
    if choice.finish_reason == "error":
        return Unanswered("error in the reply", words_of(body))
    text = _text_of(choice.message)
    if choice.message.refusal or (choice.finish_reason == "content_filter" and not text):
        return Unanswered("refusal", shortened(choice.message.refusal or "content filter"))
    if text is None:
        if choice.finish_reason == "length":
            return Unanswered("answer cut", "no word of it within max_new_tokens")
        return Unanswered("no answer in the reply", "no content")
    return CutAnswer(text) if choice.finish_reason == "length" else text


def read_models(body: bytes) -> list[ServedModel] | None:
    """The models that a server tells of; None where the reply is no such list."""
    try:
        return _Models.model_validate_json(body).data
    except ValidationError:
        return None


def words_of(body: bytes) -> str:
    """What a server says in the body of an error: its message where there is one."""
    try:
        told: Any = from_json(body)
    except ValueError:
        return shortened(body.decode(errors="replace"))
    while isinstance(told, dict):
        told = next((told[key] for key in ("error", "message", "detail") if told.get(key)), None)
    return shortened(told if isinstance(told, str) else body.decode(errors="replace"))


def shortened(text: str) -> str:
    """One line of readable characters, `LONGEST_DETAIL` at the most."""
    line = clean_text(text[: 10 * LONGEST_DETAIL])
    return line if len(line) <= LONGEST_DETAIL else f"{line[: LONGEST_DETAIL - 3]}..."


def fault_of(answer: str, form: type[BaseModel]) -> str:
    """What keeps an answer from having the form, in one line; empty where nothing does."""
    try:
        form.model_validate_json(unfenced(answer))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        return shortened(f"{where}: {first['msg']}".removeprefix(": "))
    return ""


def unfenced(answer: str) -> str:
    """JSON without the ``` fence that models like to put around it."""
    text = answer.strip()
    if not (text.startswith("```") and text.endswith("```") and len(text) > 6):
        return text
    return text[3:-3].removeprefix("json").strip()


def _text_of(message: _Message) -> str | None:
    content = message.content
    if isinstance(content, list):
        return "".join(part.text for part in content).strip() or None
    return content if content is None else content.strip()


def _tells_error(body: bytes) -> bool:
    try:
        told: Any = from_json(body)
    except ValueError:
        return False
    return isinstance(told, dict) and (bool(told.get("error")) or told.get("object") == "error")
