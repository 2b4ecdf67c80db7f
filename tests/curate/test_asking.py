"""Stages that ask a served model: answers are cleaned, and each failure has its own end."""

from dataclasses import replace
from typing import Any

import flow_world as world
import pytest
from answer_server import Asked, Says, answering, completion, error
from PIL import Image

from opendet.annotators.served_config import ServedConfig
from opendet.curate.asking import cleanings
from opendet.curate.caption import CaptionConfig, Captioner, tally
from opendet.curate.describe import DescribeConfig, Describer
from opendet.manifest import QuarantinedEntry
from opendet.record import Provenance, Record, Region
from opendet.sample import Dropped, Sample
from opendet.shard_run import run_shard

QUICK: dict[str, Any] = {"backoff_s": 0.001, "retries": 1, "connect_timeout_s": 1.0}
BARE = Record("a-0", "s", "a", "train", "CC0-1.0", "x.png", "png", 1, "0" * 64, 64, 48)


def samples(*widths: int) -> list[Sample]:
    """Images that a server can tell apart by their width."""
    return [
        Sample(replace(BARE, key=f"a-{width}"), Image.new("RGB", (width, 48))) for width in widths
    ]


def by_width(said: dict[int, Says]) -> Any:
    return lambda asked, _: said[asked.image.width]


CHAT = completion("Sure! Here is a caption: A dog runs over wet grass. It might be a wedding.")


def test_captions_of_a_served_model() -> None:
    plan = by_width(
        {
            40: CHAT,
            41: error(400, "the image is too wild"),
            42: error(503, "out of memory"),
            43: completion("I'm sorry, but I can't help with that."),
            44: completion("A cat sleeps on a chair."),
        }
    )
    with answering(plan) as server:
        served = ServedConfig(address=server.address, **QUICK)
        captioner = Captioner(CaptionConfig(annotator="served", served=served, prompt="what?"))
        told, wild, busy, refusing, cat = captioner(samples(40, 41, 42, 43, 44))
    assert isinstance(told, Record)
    assert told.caption == "A dog runs over wet grass."
    assert told.caption_from == Provenance("tiny-vlm", "cleaned of chat and speculation", "what?")
    assert isinstance(wild, Dropped)
    assert (wild.reason, "too wild" in wild.detail) == ("refused by the server", True)
    assert isinstance(busy, QuarantinedEntry)
    assert (busy.key, busy.stage) == ("a-42", "caption")
    assert "out of memory" in busy.error
    assert refusing == Dropped("a-43", "empty caption", "tiny-vlm wrote only refusal")
    assert isinstance(cat, Record)
    assert cat.caption_from == Provenance("tiny-vlm", "", "what?")
    counted = tally([told, cat])
    assert counted == {"by.tiny-vlm": 2, "cut": 0, "cleaned.chat": 1, "cleaned.speculation": 1}


def test_regions_of_a_served_model() -> None:
    boxes = tuple(
        Region((float(x), 0.0, x + 10.0, 10.0 + x), Provenance("source")) for x in (0, 20, 50)
    )

    def plan(asked: Asked, _: int) -> Says:
        height = asked.image.height
        return {10: completion("A red mug, possibly of clay."), 30: error(400, "no")}.get(
            height, completion("A plate on a table.")
        )

    one = Sample(replace(BARE, regions=boxes), Image.new("RGB", (64, 64)))
    with answering(plan) as server:
        served = ServedConfig(address=server.address, **QUICK)
        describer = Describer(DescribeConfig(annotator="served", served=served, context=0.0))
        [told] = describer([one])
        server.plan = lambda asked, before: error(500, "broken")
        [broken] = describer([one])
    assert isinstance(told, Record)
    assert [region.names[:1] for region in told.regions] == [("red mug",), (), ("plate",)]
    first = told.regions[0]
    assert (first.description, told.regions[1].description_from) == ("A red mug.", None)
    assert first.description_from is not None
    assert cleanings(first.description_from) == ("speculation",)
    assert isinstance(broken, QuarantinedEntry)


def test_a_server_that_is_gone_ends_the_stage_and_quarantines_nobody() -> None:
    with answering(by_width({})) as server:
        served = ServedConfig(address=server.address, **QUICK)
        captioner = Captioner(CaptionConfig(annotator="served", served=served))

    def ask(seen: list[Sample]) -> Any:
        return captioner([replace(one, pixels=Image.new("RGB", (40, 40))) for one in seen])

    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1") as raised:
        run_shard(world.stage(), ask, world.tasks(1)[0])  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_where_a_server_listens_is_in_no_fingerprint() -> None:
    here = ServedConfig(address="http://127.0.0.1:1/v1", concurrency=2, model="m")
    there = ServedConfig(address="http://10.0.0.1/v1", api_key_variable="KEY", model="m")
    assert here.model_dump() == there.model_dump()
    assert here.model_dump() != ServedConfig(model="m", seed=1).model_dump()
