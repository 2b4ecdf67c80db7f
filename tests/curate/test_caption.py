"""The stage `caption`: who writes, what is dropped, and what is counted."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from tiny_llava import save_tiny_llava

from opendet.annotators.vision_language import VisionLanguageConfig
from opendet.annotators.weights import folder_digest
from opendet.curate.caption import CaptionConfig, Captioner, tally
from opendet.record import Phrase, Provenance, Record, Region
from opendet.sample import Dropped, Sample


def record(key: str = "a-0", *, labels: tuple[str | None, ...] = (), **fields: object) -> Record:
    regions = tuple(
        Region((10.0 * i, 5.0, 10.0 * i + 8, 40.0), Provenance("source"), label=label)
        for i, label in enumerate(labels)
    )
    bare = Record(
        key=key,
        source="s",
        batch="a",
        split="train",
        licence="CC0-1.0",
        file="x.png",
        format="png",
        bytes=1,
        sha256=hashlib.sha256(key.encode()).hexdigest(),
        width=64,
        height=48,
        regions=regions,
    )
    return replace(bare, **fields)


def caption(one: Record, **knobs: object) -> Record | Dropped:
    (answer,) = Captioner(CaptionConfig.model_validate(knobs))([Sample(one)])
    return answer


def test_the_sources_captions_are_joined() -> None:
    told = record(source_captions=("A dog runs", "Two\x00 cats."), labels=("dog",))
    answer = caption(told)
    assert isinstance(answer, Record)
    assert answer.caption == "A dog runs. Two cats."
    assert answer.caption_from == Provenance("source")
    assert answer == replace(told, caption=answer.caption, caption_from=answer.caption_from)


def test_a_caption_with_grounded_phrases_is_kept_to_the_letter() -> None:
    phrases = tuple(Phrase(start, end, (), Provenance("source")) for start, end in ((0, 3), (6, 9)))
    told = record(
        caption="Dog.  Cat. ", caption_from=Provenance("source"), phrases=phrases, labels=("dog",)
    )
    assert caption(told) == told
    cut = caption(record(caption="A dog.  " * 5, phrases=phrases), max_characters=20)
    assert isinstance(cut, Record)
    assert (cut.caption, cut.phrases) == ("A dog.  A dog.", phrases)
    grammars = caption(told, annotator="grammar")
    assert isinstance(grammars, Record)
    assert grammars.caption != told.caption
    assert grammars.phrases == ()


@pytest.mark.parametrize("told", [(), ("", " \x00")])
def test_the_grammar_writes_where_the_source_says_nothing(told: tuple[str, ...]) -> None:
    answer = caption(record(source_captions=told, labels=("dog", "dog", None)))
    assert isinstance(answer, Record)
    assert "two dogs" in answer.caption
    assert answer.caption_from == Provenance("grammar", "1")


def test_the_grammar_writes_where_it_is_asked_to() -> None:
    answer = caption(record(source_captions=("A cat",), labels=("dog",)), annotator="grammar")
    assert isinstance(answer, Record)
    assert "a dog" in answer.caption


@pytest.mark.parametrize("labels", [(), (None,)])
def test_an_image_without_labels_is_empty_or_dropped(labels: tuple[None, ...]) -> None:
    answer = caption(record(labels=labels), caption_empty_images=True)
    assert isinstance(answer, Record)
    assert answer.caption == "An empty scene."
    dropped = caption(record(labels=labels))
    assert dropped == Dropped("a-0", "empty caption", "grammar wrote nothing")


def test_a_long_caption_is_cut_and_counted_or_dropped() -> None:
    long = record(source_captions=("One sentence here. " * 9,))
    cut = caption(long, max_characters=50)
    assert isinstance(cut, Record)
    assert cut.caption == "One sentence here. One sentence here."
    assert cut.caption_from == Provenance("source", "cut at 50")
    whole = caption(record(source_captions=("Short.",)))
    grammars = caption(record(labels=("dog", "cat")), annotator="grammar", max_characters=40)
    assert isinstance(whole, Record)
    assert isinstance(grammars, Record)
    assert tally([cut, whole, grammars]) == {"by.source": 2, "by.grammar": 1, "cut": 2}
    dropped = caption(long, max_characters=50, too_long="drop")
    assert isinstance(dropped, Dropped)
    assert dropped.reason == "overlong caption"


def test_answers_are_aligned_and_do_not_hang_on_the_batch() -> None:
    samples = [Sample(record(f"a-{i}", labels=("dog",) * i)) for i in range(5)]
    captioner = Captioner(CaptionConfig(caption_empty_images=False))
    together = captioner(samples)
    assert [answer.key for answer in together] == [sample.key for sample in samples]
    assert together == [answer for sample in samples for answer in captioner([sample])]
    assert isinstance(together[0], Dropped)


def test_a_vision_language_model_is_asked_about_the_pixels(tmp_path: Path) -> None:
    folder = save_tiny_llava(tmp_path / "tiny-llava")
    model = VisionLanguageConfig(model=str(folder), max_new_tokens=6, device="cpu")
    config = CaptionConfig(annotator="vision_language", vision_language=model, prompt="what?")
    samples = [
        Sample(record(f"a-{i}", source_captions=("A cat",)), Image.new("RGB", (30 + i, 20), colour))
        for i, colour in enumerate(("red", "blue", "white"))
    ]
    answers = Captioner(config)(samples)
    assert [answer.key for answer in answers] == ["a-0", "a-1", "a-2"]
    for answer in answers:
        if isinstance(answer, Dropped):
            assert answer.reason == "empty caption"
        else:
            assert answer.caption_from == Provenance("tiny-llava", folder_digest(folder), "what?")
            assert answer.caption not in ("", "A cat")


def test_a_missing_model_ends_the_stage_at_its_start(tmp_path: Path) -> None:
    model = VisionLanguageConfig(model=str(tmp_path / "absent"))
    with pytest.raises(ValueError, match="there is no folder"):
        Captioner(CaptionConfig(annotator="vision_language", vision_language=model))
