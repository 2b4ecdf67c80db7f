"""The stage `describe`: descriptions, the names in them, and errors planted in a known share."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from tiny_llava import save_tiny_llava

from opendet.annotators.vision_language import VisionLanguageConfig
from opendet.curate.describe import DescribeConfig, Describer, is_planted, tally
from opendet.record import Provenance, Record, Region
from opendet.sample import Dropped, Sample
from opendet.schema import write_records
from opendet.sources.scene_settings import SceneSettings
from opendet.sources.scenes import SceneVocabulary, draw_batch_scene

VOCABULARY = tuple(SceneVocabulary.from_seed(0).tiers)


def scene_record(index: int) -> Record:
    scene = draw_batch_scene(SceneSettings(size=64), batch="a", split="train", index=index)
    return Record(
        key=f"a-{index}",
        source="s",
        batch="a",
        split="train",
        licence="CC0-1.0",
        file="x.jpg",
        format="jpg",
        bytes=1,
        sha256="0" * 64,
        width=64,
        height=64,
        regions=tuple(
            Region(thing.box_xyxy, Provenance("source"), label=thing.name)
            for thing in scene.objects
        ),
    )


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return [scene_record(index) for index in range(150)]


def describe(records: list[Record], **knobs: object) -> list[Record]:
    describer = Describer(DescribeConfig.model_validate(knobs), VOCABULARY)
    answers = describer([Sample(record) for record in records])
    assert not any(isinstance(answer, Dropped) for answer in answers)
    return [answer for answer in answers if isinstance(answer, Record)]


def test_without_planted_errors_all_is_true(records: list[Record]) -> None:
    described = describe(records)
    counts = tally(described)
    regions = sum(len(record.regions) for record in records)
    assert counts == {
        "regions": regions,
        "described": regions,
        "undescribed": 0,
        "unnamed": 0,
        "planted": 0,
    }
    for before, after in zip(records, described, strict=True):
        for old, new in zip(before.regions, after.regions, strict=True):
            assert new.names == (old.label,)
            assert f"{old.label} " in new.description
            assert new.description_from == new.names_from == Provenance("grammar", "1")


def test_errors_are_planted_in_the_share_asked_for(records: list[Record]) -> None:
    described = describe(records, planted_error_share=0.2)
    regions = [region for record in described for region in record.regions]
    planted = [region for region in regions if is_planted(region)]
    expected, deviation = 0.2 * len(regions), (0.2 * 0.8 * len(regions)) ** 0.5
    assert abs(len(planted) - expected) < 3 * deviation
    assert tally(described)["planted"] == len(planted)
    one_word = 0
    for region in planted:
        assert region.label is not None
        assert region.names[0] in VOCABULARY
        assert region.names[0] in region.description.split(",")[0]
        words = zip(region.label.split(), region.names[0].split(), strict=True)
        one_word += sum(a != b for a, b in words) == 1
    assert 0.35 < one_word / len(planted) < 0.7


def test_the_truth_and_the_rest_of_the_record_stay_as_they_were(records: list[Record]) -> None:
    for before, after in zip(records, describe(records, planted_error_share=0.5), strict=True):
        stripped = tuple(
            replace(region, names=(), names_from=None, description="", description_from=None)
            for region in after.regions
        )
        assert replace(after, regions=stripped) == before


def test_the_seed_decides_and_the_batch_does_not(records: list[Record]) -> None:
    first = describe(records, planted_error_share=0.3)
    alone = [describe([one], planted_error_share=0.3)[0] for one in reversed(records)]
    assert alone[::-1] == first
    assert describe(records, planted_error_share=0.3, seed=1) != first


def test_more_errors_keep_the_ones_that_there_were(records: list[Record]) -> None:
    """So that builds which differ in the share alone can be compared."""
    few, many = (describe(records, planted_error_share=share) for share in (0.1, 0.3))
    for less, more in zip(few, many, strict=True):
        for one, other in zip(less.regions, more.regions, strict=True):
            assert not is_planted(one) or one == other


def test_regions_without_label_stay_undescribed(records: list[Record]) -> None:
    first, *rest = records[0].regions
    mixed = replace(records[0], regions=(replace(first, label=None), *rest))
    (described,) = describe([mixed], planted_error_share=1.0)
    assert described.regions[0] == mixed.regions[0]
    assert all(is_planted(region) for region in described.regions[1:])
    counts = tally([described])
    assert (counts["undescribed"], counts["unnamed"]) == (1, 1)


def test_a_synonym_is_no_error(records: list[Record]) -> None:
    """Nor is one planted, and where all names are true there is none to plant."""
    all_but_one = VOCABULARY[1:]
    regions = [replace(one, other_labels=all_but_one) for one in records[0].regions]
    (described,) = describe([replace(records[0], regions=tuple(regions))], planted_error_share=1.0)
    for region in described.regions:
        wrong = region.names[0] == VOCABULARY[0] and region.label != VOCABULARY[0]
        assert wrong == is_planted(region)
        assert wrong or region.label == VOCABULARY[0]
    every = tuple(replace(one, other_labels=VOCABULARY) for one in records[0].regions)
    (described,) = describe([replace(records[0], regions=every)], planted_error_share=1.0)
    assert [one.names for one in described.regions] == [(one.label,) for one in every]
    called = replace(described.regions[0], names=(VOCABULARY[-1],))
    assert not is_planted(called)
    assert is_planted(replace(called, other_labels=()))


def test_errors_need_two_labels_to_be_planted() -> None:
    with pytest.raises(ValueError, match=r"^describe\.planted_error_share is 0\.1, but .* 1 diff"):
        Describer(DescribeConfig(planted_error_share=0.1), ("dog",))
    Describer(DescribeConfig(), ())


PROGRAM = """
import sys
from pathlib import Path
from opendet.curate.describe import DescribeConfig, Describer
from opendet.sample import Sample
from opendet.schema import read_records
describer = Describer(DescribeConfig(planted_error_share=0.3), ("a b c", "a b d", "x y z"))
print(describer([Sample(record) for record in read_records(Path(sys.argv[1]))]))
"""


def test_every_process_writes_the_same(tmp_path: Path, records: list[Record]) -> None:
    write_records(tmp_path / "records.parquet", records[:20])
    texts = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "records.parquet")],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(texts) == 1


def test_a_vision_language_model_is_asked_about_each_crop(
    tmp_path: Path, records: list[Record]
) -> None:
    folder = save_tiny_llava(tmp_path / "tiny-llava")
    model = VisionLanguageConfig(model=str(folder), max_new_tokens=8, device="cpu")
    config = DescribeConfig(annotator="vision_language", vision_language=model, prompt="what?")
    samples = [
        Sample(record, Image.effect_noise((64, 64), 60).convert("RGB")) for record in records[:3]
    ]
    samples.append(Sample(replace(records[3], regions=()), Image.new("RGB", (64, 64))))
    edge = Region((63.2, 0.0, 64.0, 0.5), Provenance("source"))
    samples.append(Sample(replace(records[4], regions=(edge,)), Image.new("RGB", (64, 64))))
    answers = Describer(config)(samples)
    described = [answer for answer in answers if isinstance(answer, Record)]
    assert [answer.key for answer in described] == [sample.key for sample in samples]
    assert [len(answer.regions) for answer in described] == [
        len(sample.record.regions) for sample in samples
    ]
    texts = {region.description for answer in described for region in answer.regions}
    assert len(texts) > 1
    for region in (region for answer in described for region in answer.regions):
        assert bool(region.description) == (region.description_from is not None)
        assert bool(region.names) == (region.names_from is not None)
        if region.names_from:
            origin = replace(region.names_from, revision="")  # which says what it was cleaned of
            assert origin == Provenance("tiny-llava", "", "what?")
            assert len(region.names[0].split()) <= config.max_name_words
        assert not is_planted(region)
