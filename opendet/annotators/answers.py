"""What a vision-language model answers, made fit for training data: pure functions of text.

Models chat ("Sure! Here is ..."), guess ("possibly a wedding"), refuse ("I'm sorry, but ..."), run
in circles, change the language and write Markdown. A detector that learns from such captions learns
to say it, so it is taken out here, as LLMDet does with its speculative clauses; each cut has a
short reason that can be counted.

The rules know English. An answer of another language is refused where English was asked for.
"""

import re
from dataclasses import dataclass
from typing import Literal

from opendet.annotators.guesses import without_guesses
from opendet.annotators.language import is_english
from opendet.annotators.markdown import flattened
from opendet.annotators.repetition import without_loops
from opendet.annotators.sentences import sentences_of, without_unfinished
from opendet.curate.text import clean_text, cut_at_sentence

LONGEST_READ = 50_000
"""Characters of an answer that are looked at."""
MOST_PASSES = 20


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A text, and what was done to it."""

    text: str
    """One line; empty where nothing of the answer can be used."""
    reasons: tuple[str, ...] = ()
    """Each of `chat`, `cut`, `language`, `overlong`, `refusal`, `repetition` and `speculation` that
    had something to cut, in alphabetical order; `empty` where there was no text at all."""


def clean_answer(
    text: str,
    *,
    max_characters: int = 2000,
    language: Literal["english", "any"] = "english",
    unfinished: bool = False,
    keep_name: bool = False,
) -> Cleaned:
    """The usable part of a caption or a description, on one line.

    `unfinished` says that the answer ran into its limit: its last sentence goes if it has no end
    and another one stands before it. `keep_name` says that it is about one thing, which is worth
    its name where that is a guess. What comes back is not longer than `max_characters`, and
    cleaning it again changes nothing.
    """
    read = text[:LONGEST_READ]
    if not clean_text(read):
        return Cleaned("", ("empty",))
    reasons: set[str] = set()
    line = flattened(without_tokens(read, reasons))
    if unfinished:
        line = _noted("cut", line, without_unfinished(line), reasons)
    for _ in range(MOST_PASSES):
        before, line = line, _cleaned_once(line, max_characters, language, keep_name, reasons)
        if line == before:
            break
    else:  # a text that no cutting brings to an end
        line = ""
    return Cleaned(line, tuple(sorted(reasons if line or reasons else {"empty"})))


def _cleaned_once(line: str, most: int, language: str, keep_name: bool, reasons: set[str]) -> str:
    line = flattened(without_tokens(line, reasons))
    line = _noted("chat", line, without_chat(line), reasons)
    if REFUSAL.match(line):
        reasons.add("refusal")
        return ""
    if language == "english" and not is_english(line):
        reasons.add("language")
        return ""
    line = _noted("repetition", line, without_loops(line), reasons)
    line = _noted("speculation", line, without_guesses(line, keep_name=keep_name), reasons)
    return _noted("overlong", line, cut_at_sentence(line, max_characters=most).strip(), reasons)


def _noted(reason: str, before: str, after: str, reasons: set[str]) -> str:
    if after != before:
        reasons.add(reason)
    return after


_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_THOUGHT_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_TURN_END = re.compile(r"<\|(?:im_end|eot_id|end|endoftext|eom_id)\|>|</s>|<end_of_turn>|<eos>")
_TOKEN = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|</?s>|<(?:bos|eos|pad|unk|image|end_of_turn|start_of_turn)>|\[/?INST\]"
)
_ROLE = re.compile(r"\s*(?:assistant|ASSISTANT|Assistant)\s*(?::|\n)\s*")


def without_tokens(text: str, reasons: set[str]) -> str:
    """Without thoughts and marks of turns; what follows the end of the answer goes as well."""
    thought = _THOUGHT.sub("", text)
    thought = _THOUGHT_END.split(thought)[-1]
    kept = _TOKEN.sub(" ", _before_turn_end(thought))
    if role := _ROLE.match(kept):
        kept = kept[role.end() :]
    return _noted("chat", text, kept, reasons)


def _before_turn_end(text: str) -> str:
    for end in _TURN_END.finditer(text):
        if _TOKEN.sub("", text[: end.start()]).strip():
            return text[: end.start()]
    return text


_CHAT_START = re.compile(
    r"(?:(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|great(?: question)?|no problem)"
    r"[!.,:]+\s*"
    r"|(?:here(?:['’]s| is| are)|(?:below|following) (?:is|are)|this is)\b[^.!?:]{0,80}"
    r"\b(?:descriptions?|captions?|list|answer|summary|analysis|response|breakdown)\b"
    r"[^.!?:]{0,80}:\s*"
    r"|(?:i['’]d be happy to|i['’]ll|i will|let me|i can)\b(?: help)?[^.!?:]{0,20}"
    r"\b(?:describe|caption|help|provide)\b[^.!?:]{0,80}[.!:]\s*"
    r"|(?:detailed |image |short )?(?:description|caption|answer|response|output)\s*:\s*)+",
    re.IGNORECASE,
)
_CHAT_SENTENCE = re.compile(
    r"(?:please )?(?:let me know|feel free|i hope (?:this|that)|is there anything|would you like"
    r"|do you (?:want|need)|if you (?:have|need|want|would|'d|’d)|don['’]t hesitate"
    r"|note that this|please note)\b",
    re.IGNORECASE,
)
REFUSAL = re.compile(
    r"(?:(?:i['’]m|i am|we['’]re|we are) (?:(?:very|really|so|truly) )?"
    r"(?:sorry|afraid|unable|not able)"
    r"|(?:sorry|apologies|unfortunately|i apologi[sz]e)\b[^.]{0,60}"
    r"\b(?:i|we)(?:['’]m| am| can['’]?t| cannot| can not| do not| don['’]t|['’]re| are)\b"
    r"|as an? (?:ai|artificial|(?:large )?language|virtual)\b"
    r"|i (?:can['’]?t|cannot|can not|won['’]t|will not|do not|don['’]t|am not able to|couldn['’]t) "
    r"(?:assist|help|provide|identify|describe|comply|fulfil|process|answer|determine|view|access"
    r"|have (?:access|the ability)|(?:actually )?see (?:the|this|that|any|an) "
    r"(?:image|picture|photo)))",
    re.IGNORECASE,
)


def without_chat(line: str) -> str:
    """Without openings such as "Sure! Here is a description:", and what is said in parting."""
    if start := _CHAT_START.match(line):
        line = line[start.end() :]
        line = line[:1].upper() + line[1:]
    sentences = sentences_of(line)
    while sentences and _CHAT_SENTENCE.match(sentences[-1]):
        sentences.pop()
    return " ".join(sentences)
