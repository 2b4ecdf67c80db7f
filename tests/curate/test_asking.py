"""Stages that ask a served model: answers are cleaned, and each failure has its own end."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import flow_world as world
import pytest
from answer_server import Asked, Says, answering, completion, error, models
from PIL import Image

from opendet.annotators.served_config import ServedConfig
from opendet.curate.asking import cleanings, settled, unanswered
from opendet.curate.caption import CaptionConfig, Captioner, tally
from opendet.curate.describe import DescribeConfig, Describer
from opendet.curate.describe import tally as tally_regions
from opendet.curate.verify import VerifyConfig
from opendet.manifest import QuarantinedEntry
from opendet.record import Provenance, Record, Region
from opendet.sample import Dropped, Sample
from opendet.shard_run import run_shard

QUICK: dict[str, Any] = {"backoff_s": 0.001, "retries": 1, "connect_timeout_s": 1.0}
BARE = Record("a-0", "s", "a", "train", "CC0-1.0", "x.png", "png", 1, "0" * 64, 64, 48)


def samples(*widths: int) -> list[Sample]:
    """Images that a server can tell apart by their width."""
    return [
        Sample(
            replace(BARE, key=f"a-{width}", sha256=f"{width:064x}"), Image.new("RGB", (width, 48))
        )
        for width in widths
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
    assert first.description == "A red mug."
    assert first.description_from is not None
    assert cleanings(first.description_from) == ("speculation",)
    refused = told.regions[1]
    assert (refused.description, refused.names_from) == ("", None)
    assert refused.description_from is not None
    assert unanswered(refused.description_from) == "refused by the server"
    assert tally_regions([told]) == {
        "regions": 3,
        "described": 2,
        "undescribed": 1,
        "unnamed": 1,
        "planted": 0,
        "cleaned.speculation": 1,
        "unanswered.refused by the server": 1,
    }
    assert isinstance(broken, QuarantinedEntry)


SAID = {
    "This appears to be a red mug on a table.": ("A red mug on a table.", "red mug", "speculation"),
    "I'm sorry, but I can't help with that.": ("", "", "refusal"),
    " ": ("", "", "empty"),
}


@pytest.mark.parametrize("said", SAID)
def test_what_is_left_of_a_regions_answer_and_why(said: str) -> None:
    boxes = (Region((0.0, 0.0, 20.0, 20.0), Provenance("detector")),)
    one = Sample(replace(BARE, regions=boxes), Image.new("RGB", (64, 64)))
    with answering(lambda asked, before: completion(said)) as server:
        served = ServedConfig(address=server.address, **QUICK)
        [told] = Describer(DescribeConfig(annotator="served", served=served))([one])
    assert isinstance(told, Record)
    description, name, reason = SAID[said]
    assert told.regions[0].description == description
    assert told.regions[0].names == ((name,) if name else ())
    assert tally_regions([told])[f"cleaned.{reason}"] == 1


def test_a_description_of_the_source_outlives_an_answer_that_is_none() -> None:
    known = Region((0.0, 0.0, 9.0, 9.0), Provenance("source"), description="A mug.")
    one = Sample(replace(BARE, regions=(known,)), Image.new("RGB", (64, 64)))
    with answering(lambda asked, before: error(400, "no")) as server:
        served = ServedConfig(address=server.address, **QUICK)
        [told] = Describer(DescribeConfig(annotator="served", served=served))([one])
    assert isinstance(told, Record)
    assert told.regions == (known,)


def test_a_list_of_objects_that_ran_into_its_limit_loses_the_last() -> None:
    def plan(asked: Asked, _: int) -> Says:
        if asked.prompt == "list":
            return completion("1. mug\n2. plate\n3. fire hyd", "length")
        return completion("A mug and a plate.")

    with answering(plan) as server:
        served = ServedConfig(address=server.address, **QUICK)
        asked = {"annotator": "served", "served": served, "objects_prompt": "list"}
        [told] = Captioner(CaptionConfig.model_validate(asked))(samples(40))
    assert isinstance(told, Record)
    assert told.tags == ("mug", "plate")


def test_a_server_that_refuses_everything_drops_nobody() -> None:
    with answering(lambda asked, before: error(400, "takes no images")) as server:
        served = ServedConfig(address=server.address, give_up_after=3, **QUICK)
        captioner = Captioner(CaptionConfig(annotator="served", served=served))
        with pytest.raises(ConnectionError, match="answered none of 3 questions"):
            captioner(samples(40, 41, 42, 43))


# --- what a stage is settled on


def fingerprint_of(config: Any, root: Path) -> Any:
    """What of a section decides its stage's fingerprint."""
    return settled("caption", config, root).model_dump(mode="json")


@pytest.mark.parametrize("kind", [CaptionConfig, DescribeConfig, VerifyConfig])
def test_only_the_model_in_use_counts(kind: Any, tmp_path: Path) -> None:
    local = {"vision_language": {"model": "a"}}
    other = {"vision_language": {"model": "b"}}
    there = {"served": {"model": "a"}}
    elsewhere = {"served": {"model": "b"}}

    def settings(annotator: str, *parts: dict[str, Any]) -> Any:
        section = {"annotator": annotator}
        for part in parts:
            section |= part
        return fingerprint_of(kind.model_validate(section), tmp_path)

    looking = settings("vision_language", local, there)
    assert looking == settings("vision_language", local, elsewhere)
    assert looking != settings("vision_language", other, there)
    asking = settings("served", local, there)
    assert asking == settings("served", other, there)
    assert asking != settings("served", local, elsewhere)
    neither = "clip" if kind is VerifyConfig else "grammar"
    assert settings(neither, local, there) == settings(neither, other, elsewhere)


def test_a_served_model_without_a_name_counts_under_the_servers(tmp_path: Path) -> None:
    def config(server: Any, **more: Any) -> CaptionConfig:
        served = ServedConfig(address=server.address, **QUICK, **more)
        return CaptionConfig(annotator="served", served=served)

    plan = by_width({})
    with answering(plan, models("llava")) as one, answering(plan, models("qwen")) as other:
        assert settled("caption", config(one), tmp_path).served.model == "llava"
        assert fingerprint_of(config(one), tmp_path) != fingerprint_of(config(other), tmp_path)
        assert fingerprint_of(config(one), tmp_path) == fingerprint_of(
            config(one, model="llava"), tmp_path
        )
        asked = len(one.asked)
        fingerprint_of(config(one, model="llava"), tmp_path)
        assert len(one.asked) == asked  # who names it needs no server to know that all is done
        one.listing = models("llava", revision="abc")
        assert settled("caption", config(one), tmp_path).served.revision == "abc"


def test_a_prompts_file_counts_and_is_told(tmp_path: Path) -> None:
    file = tmp_path / "configs" / "prompts" / "short.v1.txt"
    file.parent.mkdir(parents=True)
    file.write_text("what is it?\n")
    section = {"annotator": "vision_language", "prompt": "prompts/short.v1.txt"}
    config = CaptionConfig.model_validate(section)
    before = fingerprint_of(config, tmp_path)
    file.write_text("what is it?")
    assert fingerprint_of(config, tmp_path) == before
    file.write_text("what is that?")
    assert fingerprint_of(config, tmp_path) != before
    file.rename(file.with_name("short.v2.txt"))
    with pytest.raises(ValueError, match=r"^caption\.prompt: there is no short\.v1\.txt"):
        settled("caption", config, tmp_path)

    with answering(by_width({40: CHAT})) as server:
        served = ServedConfig(address=server.address, model="tiny-vlm", revision="r1", **QUICK)
        section = {"annotator": "served", "served": served, "prompt": "prompts/short.v2.txt"}
        asked = settled("caption", CaptionConfig.model_validate(section), tmp_path)
        [told] = Captioner(asked)(samples(40))
        assert server.questions[0].prompt == "what is that?"
    assert isinstance(told, Record)
    revision = "r1, prompt short.v2, cleaned of chat and speculation"
    assert told.caption_from == Provenance("tiny-vlm", revision, "what is that?")
    assert tally([told])["cleaned.chat"] == 1


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
