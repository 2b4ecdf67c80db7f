"""The client of served models, against a real server on loopback that does what servers do."""

import asyncio
import email.utils
import json
import logging
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from answer_server import AnswerServer, Asked, Plan, Says, answering, completion, error, models
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import BaseModel, ValidationError

from opendet.annotators.chat import (
    LONGEST_DETAIL,
    CutAnswer,
    Unanswered,
    fault_of,
    read_answer,
    unfenced,
    words_of,
)
from opendet.annotators.served import Served
from opendet.annotators.served_config import ServedConfig
from opendet.annotators.server import (
    UnusableServerError,
    checked_address,
    is_loopback,
    pause_s,
    retry_after_s,
)

KEY = "sk-this-is-a-secret-4711"


def config(server: AnswerServer | str, **knobs: Any) -> ServedConfig:
    address = server if isinstance(server, str) else server.address
    quick = {"backoff_s": 0.001, "answer_timeout_s": 5.0, "connect_timeout_s": 1.0, "retries": 2}
    return ServedConfig(address=address, **(quick | knobs))


def images(count: int) -> list[Image.Image]:
    return [Image.new("RGB", (20 + place, 30), (place, 0, 0)) for place in range(count)]


def prompts(count: int) -> list[str]:
    return [f"question {place}" for place in range(count)]


def echo(asked: Asked, before: int) -> Says:
    return completion(f"about {asked.prompt}")


def saying(*replies: Says) -> Plan:
    """These replies to each prompt, one after another; the last one again and again."""
    return lambda asked, before: replies[min(before, len(replies) - 1)]


def ask_one(plan: Plan, **knobs: Any) -> tuple[str | Unanswered, int]:
    """What one question comes to, and how many requests it took."""
    with answering(plan) as server:
        [answer] = Served(config(server, **knobs)).ask(images(1), ["what is this?"])
        return answer, len(server.questions)


def unanswered(plan: Plan, **knobs: Any) -> tuple[Unanswered, int]:
    answer, requests = ask_one(plan, **knobs)
    assert isinstance(answer, Unanswered)
    assert "\n" not in answer.detail
    assert len(answer.detail) <= LONGEST_DETAIL + 30
    return answer, requests


def test_answers_come_in_order_however_late() -> None:
    def late(asked: Asked, before: int) -> Says:
        says = echo(asked, before)
        says.stall_s = 0.05 if asked.prompt.endswith(("0", "3")) else 0.0
        return says

    with answering(late) as server:
        model = Served(config(server, concurrency=4))
        assert model.ask(images(9), prompts(9)) == [f"about {text}" for text in prompts(9)]
        assert len(server.questions) == 9
        assert model.ask([], []) == []
        assert model.ask(images(1), ["again"]) == ["about again"]


def test_no_more_questions_are_open_than_allowed() -> None:
    slow = completion("yes")
    slow.stall_s = 0.03
    with answering(saying(slow)) as server:
        Served(config(server, concurrency=3)).ask(images(12), prompts(12))
        assert server.most_open == 3


def test_what_is_sent() -> None:
    big = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 180, 3), np.uint8))
    grey = Image.new("L", (20, 10), 128)
    with answering(echo) as server:
        knobs: dict[str, Any] = {"max_new_tokens": 7, "seed": 3, "temperature": 0.5}
        Served(config(server, longest_side=60, **knobs)).ask([big, grey], ["a", "b"])
        Served(config(server, image_format="png")).ask([big], ["c"])
    small, black_and_white, whole = (one for one in server.questions)
    if small.prompt == "b":
        small, black_and_white = black_and_white, small
    assert small.body["model"] == "tiny-vlm"
    assert {name: small.body[name] for name in ("max_tokens", "seed", "temperature", "stream")} == {
        "max_tokens": 7,
        "seed": 3,
        "temperature": 0.5,
        "stream": False,
    }
    assert "response_format" not in small.body
    assert [part["type"] for part in small.body["messages"][0]["content"]] == ["image_url", "text"]
    assert small.image_url.startswith("data:image/jpeg;base64,")
    assert (small.image.format, small.image.size) == ("JPEG", (60, 30))
    assert (black_and_white.image.mode, black_and_white.image.size) == ("RGB", (20, 10))
    assert whole.image_url.startswith("data:image/png;base64,")
    assert (np.asarray(whole.image) == np.asarray(big)).all()
    assert small.headers["accept-encoding"] == "identity"
    assert "authorization" not in small.headers


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (error(429, "slow down"), "server busy"),
        (error(500, "out of memory"), "server error"),
        (error(503, "loading"), "server error"),
        (Says(drop=True), "connection lost"),
        (Says({"choices": []}, cut_at=3), "connection lost"),
    ],
)
def test_passing_faults_are_tried_again(failure: Says, reason: str) -> None:
    assert ask_one(saying(failure, failure, completion("a dog"))) == ("a dog", 3)
    told, requests = unanswered(saying(failure))
    assert (told.reason, told.may_pass, requests) == (reason, True, 3)
    assert told.detail.endswith("3 tries")
    once, requests = unanswered(saying(failure), retries=0)
    assert (once.reason, requests) == (reason, 1)


def test_silence_is_tried_again() -> None:
    silent = Says(stall_s=3.0)
    started = time.monotonic()
    assert ask_one(saying(silent, completion("a dog")), answer_timeout_s=0.2) == ("a dog", 2)
    told, requests = unanswered(saying(silent), answer_timeout_s=0.1, retries=1)
    assert (told.reason, told.may_pass, requests) == ("timeout", True, 2)
    assert time.monotonic() - started < 2.5


@pytest.mark.parametrize("status", [400, 403, 408, 409, 413, 415, 422])
def test_other_refusals_are_the_samples_own(status: int) -> None:
    def picky(asked: Asked, before: int) -> Says:
        bad = asked.prompt == "question 1"
        return error(status, "image\n too  large\x00\x1b[31m") if bad else echo(asked, before)

    with answering(picky) as server:
        first, second, third = Served(config(server)).ask(images(3), prompts(3))
        assert (first, third) == ("about question 0", "about question 2")
        assert isinstance(second, Unanswered)
        assert (second.reason, second.may_pass) == ("refused by the server", False)
        assert second.detail == f"HTTP {status}: image too large[31m"
        assert len(server.questions) == 3


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (error(401, f"Incorrect API key provided: {KEY}"), "api_key_variable"),
        (error(402, "no credit"), "credit"),
        (error(404, "The model does not exist"), "ends with /v1"),
        (error(405, "Method Not Allowed"), "ends with /v1"),
        (Says(status=307, headers={"location": "http://127.0.0.1:9/"}), "elsewhere"),
    ],
)
def test_what_no_sample_can_help_ends_the_stage(
    says: Says, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENDET_TEST_KEY", KEY)
    with answering(saying(says)) as server:
        model = Served(config(server, api_key_variable="OPENDET_TEST_KEY", concurrency=1))
        with pytest.raises(UnusableServerError, match="run the stage again") as caught:
            model.ask(images(5), prompts(5))
        assert words in str(caught.value)
        assert server.address in str(caught.value)
        assert "\n" not in str(caught.value)
        assert KEY not in str(caught.value)
        assert len(server.questions) == 1
        assert isinstance(pickle.loads(pickle.dumps(caught.value)), UnusableServerError)


LIES = {
    "no choices": (Says({"choices": []}), "no answer in the reply"),
    "no content": (completion(None), "no answer in the reply"),
    "no parts": (completion([]), "no answer in the reply"),
    "no JSON": (Says(b"{'choices'"), "unreadable reply"),
    "nothing": (Says(b""), "unreadable reply"),
    "a page": (Says(b"<html><h1>Welcome</h1>", kind="text/html"), "unreadable reply"),
    "a stream": (Says(b"data: {}\n\n", kind="text/event-stream"), "unreadable reply"),
    "a list": (Says([1, 2]), "unreadable reply"),
    "other types": (Says({"choices": [{"message": {"content": 7}}]}), "unreadable reply"),
    "no Unicode": (Says(b"\xff\xfe{}"), "unreadable reply"),
    "compressed": (Says(b"\x1f\x8b\x08", headers={"content-encoding": "gzip"}), "unreadable reply"),
    "a tower": (Says(b'{"choices":' + b"[" * 15_000), "unreadable reply"),
    "half a character": (Says(b'{"choices":[{"message":{"content":"\\ud800"}}]}'), "unreadable"),
    "an error": (Says({"error": {"message": "bad image"}}), "error in the reply"),
    "an old error": (Says({"object": "error", "message": "bad image"}), "error in the reply"),
    "a bare error": (Says({"error": "bad image"}), "error in the reply"),
    "a broken end": (completion("half", "error"), "error in the reply"),
    "a refusal": (completion(None, refusal="I cannot"), "refusal"),
    "a filter": (completion(None, "content_filter"), "refusal"),
    "thoughts alone": (completion(None, "length"), "answer cut"),
    "a flood": (Says(b"x" * 20_001), "overlong reply"),
    "an endless flood": (Says(drip=b"x" * 10_000), "overlong reply"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_lies_costs_one_sample(lie: str) -> None:
    says, reason = LIES[lie]
    told, requests = unanswered(saying(says), max_reply_bytes=20_000)
    assert told.reason.startswith(reason)
    assert not told.may_pass
    assert requests == 1
    if "error" in lie:
        assert told.detail == "bad image"


def test_a_reply_that_never_ends_is_left() -> None:
    started = time.monotonic()
    told, requests = unanswered(saying(Says(drip=b" ")), answer_timeout_s=0.2, retries=1)
    assert (told.reason, requests) == ("timeout", 2)
    assert time.monotonic() - started < 2


def test_answers_that_are_right_in_odd_ways() -> None:
    parts = [{"type": "text", "text": "a "}, {"type": "text", "text": "dog"}]
    assert ask_one(saying(completion(parts))) == ("a dog", 1)
    assert ask_one(saying(completion("  a dog \n", None))) == ("a dog", 1)
    assert ask_one(saying(completion(""))) == ("", 1)
    assert ask_one(saying(completion("a dog", "content_filter"))) == ("a dog", 1)
    plain = completion("a dog")
    plain.kind = "text/plain"
    assert ask_one(saying(plain)) == ("a dog", 1)


def test_a_cut_answer_is_kept_and_marked() -> None:
    whole, _ = ask_one(saying(completion("A dog sits on")))
    cut, requests = ask_one(saying(completion("A dog sits on", "length")))
    assert cut == whole == "A dog sits on"
    assert isinstance(cut, CutAnswer)
    assert not isinstance(whole, CutAnswer)
    assert isinstance(pickle.loads(pickle.dumps(cut)), CutAnswer)
    assert requests == 1


class Thing(BaseModel):
    name: str
    colours: list[str]


RIGHT = '{"name": "dog", "colours": ["red"]}'


def ask_for_json(*replies: Says) -> tuple[str | Unanswered, list[Asked]]:
    with answering(saying(*replies)) as server:
        [answer] = Served(config(server), Thing).ask(images(1), ["what is this?"])
        return answer, server.questions


def test_structured_answers_are_validated_and_asked_for_once_more() -> None:
    answer, asked = ask_for_json(completion(RIGHT))
    assert answer == RIGHT
    assert len(asked) == 1
    wanted = asked[0].body["response_format"]
    assert wanted["type"] == "json_schema"
    assert wanted["json_schema"]["schema"] == Thing.model_json_schema()

    assert ask_for_json(completion(f"```json\n{RIGHT}\n```"))[0] == RIGHT

    answer, asked = ask_for_json(completion('{"name": "dog"}'), completion(RIGHT))
    assert answer == RIGHT
    roles = [message["role"] for message in asked[1].body["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert asked[1].body["messages"][1]["content"] == '{"name": "dog"}'
    assert "colours: Field required" in asked[1].body["messages"][2]["content"]

    answer, asked = ask_for_json(completion("a red dog"))
    assert isinstance(answer, Unanswered)
    assert answer.reason == "answer of a wrong form"
    assert len(asked) == 2

    answer, asked = ask_for_json(completion("a red dog"), error(400, "too long"))
    assert isinstance(answer, Unanswered)
    assert answer.reason == "refused by the server"

    answer, asked = ask_for_json(completion(RIGHT[:9], "length"))
    assert isinstance(answer, Unanswered)
    assert (answer.reason, len(asked)) == ("answer cut", 1)


def test_no_server_at_all_is_one_clear_line() -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(UnusableServerError, match="nobody answers there") as caught:
            Served(config(address))
    assert address in str(caught.value)
    assert "3 tries" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_goes_away_ends_the_stage() -> None:
    with answering(echo) as server:
        model = Served(config(server))
        assert model.ask(images(1), ["a"]) == ["about a"]
    with pytest.raises(UnusableServerError, match="nobody answers"):
        model.ask(images(3), prompts(3))


def test_a_server_that_goes_away_for_a_moment_is_waited_for() -> None:
    with answering(echo) as first:
        model = Served(config(first, retries=8, backoff_s=0.05))
    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(model.ask, images(2), prompts(2))
        time.sleep(0.1)
        assert not answers.done()
        with answering(echo, port=first.server_port):
            assert answers.result() == ["about question 0", "about question 1"]


def test_a_long_row_of_failures_ends_the_stage() -> None:
    def moody(asked: Asked, before: int) -> Says:
        return (
            error(502, "bad gateway") if before or asked.prompt != "question 2" else completion("x")
        )

    with answering(moody) as server:
        model = Served(config(server, retries=0, give_up_after=3, concurrency=1))
        with pytest.raises(UnusableServerError, match=r"3 questions in a row.*bad gateway"):
            model.ask(images(20), prompts(20))
        assert len(server.questions) == 6  # two failures, an answer, three failures


REFUSALS = {
    "refusing": error(400, "this model takes no images"),
    "unreadable": Says(b"<html>Welcome</html>", kind="text/html"),
    "thinking": completion(None, "length"),
    "filtering": completion(None, "content_filter"),
}


@pytest.mark.parametrize("how", REFUSALS)
def test_a_server_that_never_answers_ends_the_stage(how: str) -> None:
    with answering(saying(REFUSALS[how])) as server:
        model = Served(config(server, give_up_after=4, concurrency=1))
        assert all(isinstance(one, Unanswered) for one in model.ask(images(3), prompts(3)))
        with pytest.raises(UnusableServerError, match="answered none of 4 questions") as caught:
            model.ask(images(20), prompts(20))
        assert "\n" not in str(caught.value)
        assert len(server.questions) == 5  # four, and one about a plain picture
        plain = server.questions[-1]
        assert plain.prompt == server.questions[-2].prompt
        assert len(plain.image.getcolors() or ()) == 1


@pytest.mark.parametrize("concurrency", [1, 8])
def test_samples_that_are_all_to_blame_do_not_end_the_stage(concurrency: int) -> None:
    def picky(asked: Asked, _: int) -> Says:
        return completion("grey") if asked.image.size == (64, 64) else error(400, "too small")

    with answering(picky) as server:
        model = Served(config(server, give_up_after=3, concurrency=concurrency))
        answers = model.ask(images(20), prompts(20))
        assert all(isinstance(one, Unanswered) and not one.may_pass for one in answers)
        assert len(server.questions) == 21


def test_after_an_answer_refusals_are_the_samples_own() -> None:
    def first_alone(asked: Asked, before: int) -> Says:
        return echo(asked, before) if asked.prompt == "question 0" else error(400, "no")

    with answering(first_alone) as server:
        model = Served(config(server, give_up_after=2, concurrency=1))
        first, *others = model.ask(images(10), prompts(10))
        assert first == "about question 0"
        assert all(isinstance(one, Unanswered) for one in others)
        assert len(server.questions) == 10


def test_a_stalled_server_is_given_up_in_bounded_time() -> None:
    with answering(saying(Says(stall_s=30.0))) as server:
        patient = {"answer_timeout_s": 0.3, "retries": 30, "longest_silence_s": 0.5}
        model = Served(config(server, **patient))
        started = time.monotonic()
        with pytest.raises(UnusableServerError, match=r"nothing at all for 0\.5 s"):
            model.ask(images(8), prompts(8))
        assert time.monotonic() - started < 5.0


def test_a_slow_server_that_answers_somebody_is_not_given_up() -> None:
    def moody(asked: Asked, before: int) -> Says:
        says = echo(asked, before)
        stalls = asked.prompt == "question 0" and before < 2
        return Says(stall_s=30.0) if stalls else Says(says.body, stall_s=0.1)

    with answering(moody) as server:
        knobs = {"answer_timeout_s": 0.6, "retries": 5, "longest_silence_s": 1.0}
        answers = Served(config(server, concurrency=2, **knobs)).ask(images(14), prompts(14))
        assert answers == [f"about question {number}" for number in range(14)]


def test_waits_follow_the_server_within_limits() -> None:
    busy = error(429, "slow down", retry_after="0.15")
    started = time.monotonic()
    assert ask_one(saying(busy, completion("a dog"))) == ("a dog", 2)
    assert time.monotonic() - started > 0.15
    started = time.monotonic()
    patient = error(429, "slow down", retry_after="3600")
    assert ask_one(saying(patient, completion("a dog")), longest_wait_s=0.1) == ("a dog", 2)
    assert time.monotonic() - started < 1.5


def test_waits_grow_and_are_the_same_in_each_run() -> None:
    settings = ServedConfig(backoff_s=1.0, longest_wait_s=10.0)
    waits = [pause_s(settings, 5, number) for number in range(30)]
    assert waits == [pause_s(settings, 5, number) for number in range(30)]
    for number, wait in enumerate(waits):
        longest = min(2.0**number, 10.0)
        assert longest / 2 <= wait <= longest
    assert len({pause_s(settings, place, 3) for place in range(50)}) == 50
    assert pause_s(settings, 5, 3) != pause_s(settings.model_copy(update={"seed": 1}), 5, 3)


def test_dates_to_wait_for() -> None:
    soon = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert 95 < (retry_after_s(soon) or 0) <= 100
    assert retry_after_s(email.utils.formatdate(0, usegmt=True)) == 0
    assert retry_after_s("-3") == 0
    assert retry_after_s("2.5") == 2.5
    for nonsense in ("", "soon", "nan", "inf", "Wed, 99 Foo 2026"):
        assert retry_after_s(nonsense) is None


@given(st.text())
def test_any_header_gives_a_wait_within_limits(told: str) -> None:
    assert 0 <= pause_s(ServedConfig(), 0, 0, told) <= 60


@given(
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["choices", "message", "content", "error", "detail", "finish_reason"]
                ),
                inner,
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_reply_is_read(body: bytes) -> None:
    assert isinstance(read_answer(body), str | Unanswered)
    assert len(words_of(body)) <= LONGEST_DETAIL
    text = body.decode(errors="replace")
    assert isinstance(fault_of(text, Thing), str)
    assert len(unfenced(text)) <= len(text)


def test_provenance() -> None:
    def told(listing: Says, **knobs: Any) -> tuple[str, str]:
        with answering(echo, listing) as server:
            model = Served(config(server, **knobs))
            assert not server.questions
            assert model.ask(images(1), ["a"]) == ["about a"]
            asked = server.questions[0].body["model"]
            assert asked == (knobs.get("model") or "/models/tiny-vlm")
            return model.name, model.revision

    folder = "/cache/models--org--tiny/snapshots/0a1b2c"
    assert told(models("org/tiny"), model="org/tiny") == ("org/tiny", "")
    assert told(models("x", "vlm", root=folder), model="vlm") == ("vlm", "0a1b2c")
    assert told(models("vlm", root="org/tiny"), model="vlm") == ("vlm", "org/tiny")
    assert told(models("vlm", root="vlm"), model="vlm") == ("vlm", "")
    assert told(models("vlm", revision="abc"), model="vlm") == ("vlm", "abc")
    assert told(models("vlm", revision="abc"), model="vlm", revision="mine") == ("vlm", "mine")
    assert told(models("/models/tiny-vlm", root="/models/tiny-vlm")) == ("tiny-vlm", "")
    assert told(error(404, "Not Found"), model="vlm") == ("vlm", "")
    assert told(models(), model="vlm") == ("vlm", "")


@pytest.mark.parametrize(
    ("listing", "model", "kind", "words"),
    [
        (models("a", "b"), "", ValueError, "serves 2 models (a, b): name a model"),
        (models(), "", ValueError, "serves no known model: name a model"),
        (models("llava", "qwen"), "lava", ValueError, "did you mean 'llava'?"),
        (error(404, "Not Found"), "", ValueError, "ends with /v1"),
        (error(401, "no key"), "a", UnusableServerError, "api_key_variable"),
        (error(403, "forbidden"), "a", UnusableServerError, "api_key_variable"),
        (error(500, "broken"), "a", UnusableServerError, "server error, HTTP 500: broken, 3 tries"),
        (Says(b"<html>Welcome", kind="text/html"), "a", UnusableServerError, "lists no models"),
        (Says(drip=b"x" * 9999), "a", UnusableServerError, "overlong reply"),
        (Says(status=301, headers={"location": "/v2"}), "a", UnusableServerError, "HTTP 301"),
    ],
)
def test_the_first_word_with_a_server(
    listing: Says, model: str, kind: type[Exception], words: str
) -> None:
    with answering(echo, listing) as server:
        with pytest.raises(kind) as caught:
            Served(config(server, model=model, max_reply_bytes=20_000))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not server.questions


def test_keys_go_to_the_server_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENDET_TEST_KEY", f" {KEY}\n")
    caplog.set_level(logging.DEBUG)

    def tells(asked: Asked, before: int) -> Says:
        if asked.prompt == "question 0":
            return completion(f"the key is {KEY}")
        near_the_cut = "x" * (LONGEST_DETAIL - 10) + KEY
        return error(400 if asked.prompt == "question 1" else 500, near_the_cut)

    with answering(tells) as server:
        settings = config(server, api_key_variable="OPENDET_TEST_KEY")
        model = Served(settings)
        answers = model.ask(images(3), prompts(3))
    assert {one.headers["authorization"] for one in server.asked} == {f"Bearer {KEY}"}
    assert answers[0] == "the key is ***"
    for start in (0, 3):  # nor a part of it
        assert KEY[start : start + 7] not in f"{answers} {settings!r} {model!r} {caplog.text}"
    assert "xx***" in str(answers[1])


@pytest.mark.parametrize("value", ["", "  ", "two\nlines", "schlüssel-geheim"])
def test_keys_that_cannot_be_sent(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENDET_TEST_KEY", value)
    with pytest.raises(ValueError, match=r"^served\.api_key_variable") as caught:
        Served(ServedConfig(api_key_variable="OPENDET_TEST_KEY"))
    assert "OPENDET_TEST_KEY" in str(caught.value)
    if value.strip():
        assert value not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1:8000", "ftp://host/v1", "http://", "http://[::1", "/v1", "http://a b/v1"],
)
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ValueError, match=r"^served\.address.*http://host:port/v1"):
        checked_address(address)


@pytest.mark.parametrize(
    "address", [f"http://u:{KEY}@host/v1", f"http://host/v1?key={KEY}", f"http://host/v1#{KEY}"]
)
def test_keys_do_not_belong_into_addresses(address: str) -> None:
    with pytest.raises(ValueError, match="environment variable") as caught:
        checked_address(address)
    assert KEY not in str(caught.value)


def test_the_environments_proxies_are_not_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    def trap(asked: Asked, before: int) -> Says:
        return completion("from the proxy")

    with answering(trap) as proxy, answering(echo) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert Served(config(server)).ask(images(1), ["a"]) == ["about a"]
        assert not proxy.asked
        far = Served(config("http://far.example/v1", model="x"))  # there the environment decides
        assert far.ask(images(1), ["a"]) == ["from the proxy"]
        assert [one.path for one in proxy.asked] == [
            "http://far.example/v1/models",
            "http://far.example/v1/chat/completions",
        ]


def test_loopback() -> None:
    for host in ("127.0.0.1", "127.3.2.1", "localhost", "a.localhost", "[::1]", "0.0.0.0"):
        assert is_loopback(f"http://{host}:8000/v1"), host
    for host in ("10.0.0.1", "example.com", "localhost.example.com", "[2001:db8::1]"):
        assert not is_loopback(f"http://{host}:8000/v1"), host


def test_it_works_where_a_loop_is_running() -> None:
    async def notebook(server: AnswerServer) -> Sequence[object]:
        return Served(config(server)).ask(images(2), prompts(2))

    with answering(echo) as server:
        assert asyncio.run(notebook(server)) == ["about question 0", "about question 1"]


def test_a_misspelt_knob_is_an_error() -> None:
    for wrong in ({"api_key": KEY}, {"retries": -1}, {"concurrency": 0}, {"image_format": "webp"}):
        with pytest.raises(ValidationError):
            ServedConfig.model_validate(wrong)


def test_a_configuration_costs_no_http_client() -> None:
    code = (
        "import opendet.annotators.served_config, sys; "
        "print(sorted({'httpx2', 'asyncio', 'PIL'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
