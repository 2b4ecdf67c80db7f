"""The stage `verify`: a verifier of known error is measured at its error; CLIP as verifier; what an
answer that is none leaves behind."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from clip_world import COLOURS, TINY
from clip_world import sample as square_sample
from PIL import Image
from pydantic import ValidationError
from tiny_llava import save_tiny_llava
from verifier_world import ErringOracle, Planted, planted_scene, unnamed

from opendet.annotators.chat import Unanswered
from opendet.annotators.vision_language import VisionLanguageConfig
from opendet.answers.memory import AnswerPlace
from opendet.config import Config
from opendet.curate.asking import Asked, Remembered
from opendet.curate.clip import build_clip
from opendet.curate.embed import Embedder
from opendet.curate.questioning import verify_by_asking
from opendet.curate.verified import (
    VerifiedRecord,
    precision_recall,
    read_verified,
    tally,
    write_verified,
)
from opendet.curate.verify import Verifier, VerifyConfig, clip_belief
from opendet.files import sha256_of
from opendet.manifest import QuarantinedEntry
from opendet.record import NameJudgement, Provenance, Record, Region
from opendet.sample import Sample

PROMPTS = {
    "name_prompt": "name:{name}",
    "box_prompt": "box:{name}",
    "all_found_prompt": "all:{name}",
    "there_prompt": "there:{name}",
}
SHORT = VerifyConfig(annotator="served", **PROMPTS)  # type: ignore[arg-type]
ERROR = 0.1
SIGMAS = 4


@pytest.fixture(scope="module")
def worlds() -> list[Planted]:
    rng = random.Random(3)
    return [planted_scene(index, share=0.25, rng=rng) for index in range(110)]


def ask(model: Asked, worlds: Sequence[Planted]) -> list[VerifiedRecord]:
    samples = [world.sample for world in worlds]
    remembered = Remembered(model, {}, AnswerPlace())
    results = verify_by_asking(remembered, samples, [world.tried for world in worlds], SHORT)
    assert [result.key for result in results] == [sample.key for sample in samples]
    return [result for result in results if isinstance(result, VerifiedRecord)]


def belief(checked: Provenance | None) -> float:
    assert checked is not None
    assert checked.score is not None
    return checked.score


def verdicts_of(
    worlds: Sequence[Planted], found: Sequence[VerifiedRecord]
) -> dict[str, list[tuple[bool, bool]]]:
    """What was asked -> (it is wrong, it was said to be wrong) of each."""
    all_: dict[str, list[tuple[bool, bool]]] = {"name": [], "box": [], "partial": [], "absent": []}
    for world, item in zip(worlds, found, strict=True):
        for index, region in enumerate(item.record.regions):
            all_["name"].append((index in world.wrong_names, belief(region.name_checked) < 0.5))
            all_["box"].append((index in world.loose_boxes, belief(region.box_checked) < 0.5))
        partial = {judged.name for judged in item.record.partial}
        for name in {region.names[0] for region in item.record.regions}:
            all_["partial"].append((name in world.partial, name in partial))
        absent = {judged.name for judged in item.record.absent}
        for name in world.tried:
            all_["absent"].append((name not in world.true_names, name in absent))
    return all_


def within_bounds(said: Sequence[tuple[bool, bool]], error: float) -> tuple[float, float]:
    """Precision and recall, both within what the error implies by the binomial bound."""
    wrong, right = sum(one for one, _ in said), sum(not one for one, _ in said)
    caught, alarms = sum(a and b for a, b in said), sum(not a and b for a, b in said)
    slack = {count: SIGMAS * math.sqrt(count * error * (1 - error)) for count in (wrong, right)}
    assert abs(caught - wrong * (1 - error)) <= slack[wrong]
    assert abs(alarms - right * error) <= slack[right]
    precision, recall = caught / (caught + alarms), caught / wrong
    low, high = wrong * (1 - error) - slack[wrong], wrong * (1 - error) + slack[wrong]
    most, least = right * error + slack[right], max(right * error - slack[right], 0)
    assert low / (low + most) <= precision <= high / (high + least)
    return precision, recall


def test_a_verifier_without_error_finds_every_planted_error(worlds: list[Planted]) -> None:
    found = ask(ErringOracle(worlds, error=0.0), worlds)
    for what, said in verdicts_of(worlds, found).items():
        assert all(wrong == denied for wrong, denied in said), what
        assert any(wrong for wrong, _ in said), f"no {what} was planted"
    assert precision_recall(tally(found)) == (1.0, 1.0)


def test_precision_and_recall_are_what_the_verifier_s_error_implies(worlds: list[Planted]) -> None:
    oracle = ErringOracle(worlds, error=ERROR)
    found = ask(oracle, worlds)
    said = verdicts_of(worlds, found)
    measured = {what: within_bounds(one, ERROR) for what, one in said.items()}
    counts = tally(found)
    assert precision_recall(counts) == pytest.approx(measured["name"])
    assert len(oracle.told) == sum(counts[one] for one in ("names", "boxes", "all_found", "tried"))
    assert counts["names"] == counts["boxes"] == counts["judged"] == len(said["name"])
    assert counts["planted.judged"] == sum(wrong for wrong, _ in said["name"])
    assert counts["absent.untrue"] == sum(
        name in {region.label for region in item.record.regions}
        for item in found
        for name in {judged.name for judged in item.record.absent}
    )


def test_a_belief_says_who_holds_it_and_what_was_asked(worlds: list[Planted]) -> None:
    world = worlds[0]
    [found] = ask(ErringOracle(worlds, error=0.0), [world])
    name = world.sample.record.regions[0].names[0]
    wrong = 0 in world.wrong_names
    checked = found.record.regions[0].name_checked
    assert checked == Provenance("oracle", "7", f"name:{name}", 0.0 if wrong else 1.0)
    for judged in found.record.absent:
        assert judged.judged_from == Provenance("oracle", "7", f"there:{judged.name}", 1.0)
    bare = tuple(
        replace(region, name_checked=None, box_checked=None) for region in found.record.regions
    )
    assert replace(found.record, regions=bare, absent=(), partial=()) == world.sample.record


class Says:
    """Answers the same to every question."""

    name, revision = "parrot", ""

    def __init__(self, *answers: str | Unanswered) -> None:
        self._answers = answers

    def ask(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[str | Unanswered]:
        return [self._answers[number % len(self._answers)] for number in range(len(images))]


def test_an_answer_that_is_no_verdict_leaves_nothing_and_is_counted(worlds: list[Planted]) -> None:
    found = ask(Says("Well, it depends."), worlds[:3])
    for world, item in zip(worlds, found, strict=False):
        assert item.record == world.sample.record
        assert {verdict.said for verdict in item.verdicts} == {"Well, it depends."}
    assert tally(found) == {"unread": sum(len(item.verdicts) for item in found)}
    assert precision_recall(tally(found)) == (None, None)


def test_a_refusal_leaves_nothing_and_a_sick_server_sends_the_image_to_retry(
    worlds: list[Planted],
) -> None:
    refusal = Unanswered("refused by the server", "no such pictures here")
    [found] = ask(Says(refusal, "0.8"), worlds[:1])
    counts = tally([found])
    assert counts["unanswered"] == (len(found.verdicts) + 1) // 2
    assert found.record.regions[0].name_checked is None
    assert belief(found.record.regions[0].box_checked) == 0.8
    sick = Remembered(Says("yes", Unanswered("busy", "503", may_pass=True)), {}, AnswerPlace())
    samples = [worlds[0].sample, Sample(unnamed(worlds[1].sample.record), worlds[1].sample.pixels)]
    assert verify_by_asking(sick, samples, [(), ()], SHORT) == [
        QuarantinedEntry(samples[0].key, "verify", "busy: 503", 0),
        VerifiedRecord(samples[1].record),
    ]


def test_what_the_source_says_of_a_name_stays(worlds: list[Planted]) -> None:
    world = worlds[0]
    name = world.sample.record.regions[0].names[0]
    known = NameJudgement(name, Provenance("source"))
    record = replace(world.sample.record, partial=(known,))
    told = replace(world, sample=replace(world.sample, record=record), tried=())
    [found] = ask(Says("no"), [told])
    assert found.record.partial[0] == known
    names = [judged.name for judged in found.record.partial]
    assert len(names) == len(set(names))


# --- the store: what was asked once is known


def test_an_answer_is_found_again_and_another_box_is_asked_about(
    tmp_path: Path, worlds: list[Planted]
) -> None:
    model = Remembered(ErringOracle(worlds, 0.0), {}, AnswerPlace(tmp_path / "store"))
    few = [world.sample for world in worlds[:4]]
    first = verify_by_asking(model, few, [()] * 4, SHORT)
    silent = Remembered(ErringOracle(worlds, 1.0), {}, AnswerPlace(tmp_path / "store"))
    blind = [replace(sample, pixels=None) for sample in few]
    assert verify_by_asking(silent, blind, [()] * 4, SHORT) == first
    moved = replace(few[0].record.regions[0], box_xyxy=(1.0, 1.0, 60.0, 60.0))
    other = replace(few[0].record, regions=(moved, *few[0].record.regions[1:]))
    with pytest.raises(AssertionError, match="without pixels"):
        verify_by_asking(silent, [Sample(other)], [()], SHORT)


class Counts(Says):
    """Knows the sizes of the pictures that it was shown."""

    def __init__(self) -> None:
        super().__init__("yes")
        self.sizes: list[tuple[int, int]] = []

    def ask(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[str | Unanswered]:
        self.sizes += [image.size for image in images]
        return super().ask(images, prompts)


def test_a_picture_shown_larger_is_another_question(tmp_path: Path, worlds: list[Planted]) -> None:
    few = [world.sample for world in worlds[:3]]
    tried = [world.tried for world in worlds[:3]]
    shown = []
    for longest_side in (1024, 1024, 32):
        model = Counts()
        config = SHORT.model_copy(update={"longest_side": longest_side})
        remembered = Remembered(model, {}, AnswerPlace(tmp_path / "store"))
        verify_by_asking(remembered, few, tried, config)
        shown.append(model.sizes)
    large, again, small = shown
    assert again == []
    assert len(small) == len(large) > 0  # what was smaller anyway is asked again too
    assert max(map(max, small)) == 32 < max(map(max, large))


# --- CLIP as verifier


@pytest.fixture(scope="module")
def squares() -> list[Sample]:
    """Pictures of coloured squares, a fifth of their names wrong; labels say the truth."""
    rng = random.Random(1)
    made = []
    for number in range(60):
        colours = [rng.choice(COLOURS) for _ in range(rng.randint(1, 4))]
        one = square_sample(f"b0-{number}", colours)
        regions = tuple(
            replace(region, names=(rng.choice([c for c in COLOURS if c != region.label]),))
            if rng.random() < 0.2
            else region
            for region in one.record.regions
        )
        made.append(replace(one, record=replace(one.record, regions=regions)))
    return made


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory, squares: list[Sample]) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    learns = TINY.model_copy(update={"steps": 80, "batch": 16})
    build_clip(squares, learns, seed=0, folder=folder)
    return folder


@pytest.fixture(scope="module")
def embedded(clip_folder: Path, squares: list[Sample]) -> list[Sample]:
    items = Embedder(clip_folder, COLOURS)(squares)
    return [replace(one, record=item.record) for one, item in zip(squares, items, strict=True)]


BY_CLIP = VerifyConfig(annotator="clip", clip_scale=10.0)


def verified(found: Sequence[object]) -> list[VerifiedRecord]:
    assert all(isinstance(one, VerifiedRecord) for one in found)
    return [one for one in found if isinstance(one, VerifiedRecord)]


def test_clip_finds_wrong_names_without_a_look_at_the_pixels(embedded: list[Sample]) -> None:
    blind = [replace(sample, pixels=None) for sample in embedded]
    found = verified(Verifier(BY_CLIP)(blind))
    precision, recall = precision_recall(tally(found))
    assert precision is not None
    assert recall is not None
    assert precision >= 0.9
    assert recall >= 0.9
    checked = found[0].record.regions[0].name_checked
    agreement_from = found[0].record.regions[0].agreement_from
    assert checked is not None
    assert checked == replace(agreement_from, score=checked.score)  # type: ignore[type-var]
    assert all(region.box_checked is None for item in found for region in item.record.regions)


def test_clip_s_belief_by_hand_and_with_the_margin() -> None:
    bare = Region((0, 0, 9, 9), Provenance("source"), names=("cat",))
    region = replace(bare, agreement=0.3, rival="dog", rival_agreement=0.2)
    assert clip_belief(region, BY_CLIP) == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-6)
    lenient = BY_CLIP.model_copy(update={"clip_margin": 0.1})
    assert clip_belief(region, lenient) == 0.5
    beliefs = [
        clip_belief(replace(region, agreement=agreement), BY_CLIP) or 0.0
        for agreement in (-1.0, 0.0, 0.2, 0.21, 0.5, 1.0)
    ]
    assert beliefs == sorted(beliefs)
    assert 0 <= beliefs[0] < 0.5 == beliefs[2] < beliefs[-1] <= 1
    for unknown in (bare, replace(region, rival_agreement=None), replace(region, names=())):
        assert clip_belief(unknown, BY_CLIP) is None
    assert clip_belief(replace(region, agreement=math.nan), BY_CLIP) is None
    assert clip_belief(replace(region, crowd=True), BY_CLIP) is None


def test_hard_negatives_are_near_names_that_clip_does_not_see(
    clip_folder: Path, embedded: list[Sample]
) -> None:
    config = BY_CLIP.model_copy(update={"hard_negatives": 3, "absent_below": 0.1})
    found = verified(Verifier(config, clip_folder, COLOURS)(embedded))
    for item in found:
        said = {name for region in item.record.regions for name in region.names}
        tried = {verdict.name for verdict in item.verdicts if verdict.kind == "there"}
        assert tried == set(COLOURS) - said
        for judged in item.record.absent:
            assert judged.name in tried
            assert judged.judged_from.model == item.record.regions[0].agreement_from.model  # type: ignore[union-attr]
            assert belief(judged.judged_from) >= 0.5
    counts = tally(found)
    assert counts["absent"] >= 0.5 * counts["tried"]
    assert counts["absent"] < counts["tried"], "none of what is there was tried"
    assert counts.get("absent.untrue", 0) <= 0.1 * counts["absent"]


def test_a_lower_threshold_calls_fewer_names_absent(
    clip_folder: Path, embedded: list[Sample]
) -> None:
    absent = []
    for below in (-1.0, 0.0, 0.1, 1.0):
        config = BY_CLIP.model_copy(update={"hard_negatives": 4, "absent_below": below})
        counts = tally(verified(Verifier(config, clip_folder, COLOURS)(embedded[:10])))
        absent.append(counts.get("absent", 0))
    assert absent == sorted(absent)
    assert (absent[0], absent[-1]) == (0, counts["tried"])


def test_names_that_the_record_speaks_of_are_never_tried(clip_folder: Path) -> None:
    config = BY_CLIP.model_copy(update={"hard_negatives": 9})
    vocabulary = (*COLOURS, "cats", "pink box", "sky")
    one = square_sample("b0-9", ("red",))
    judged = replace(one.record.regions[0], agreement_from=Provenance("tiny", "1", "{name}"))
    synonyms = (replace(judged, names=("red", "Cat")),)
    record = replace(
        one.record,
        regions=synonyms,
        caption="Two pink boxes below.",
        tags=("green",),
        absent=(NameJudgement("sky", Provenance("source")),),
    )
    [found] = verified(Verifier(config, clip_folder, vocabulary)([replace(one, record=record)]))
    tried = {verdict.name for verdict in found.verdicts if verdict.kind == "there"}
    assert tried == {"blue", "yellow"}
    assert found.record.absent[0].name == "sky"


def test_negatives_of_the_crops_are_their_rivals(clip_folder: Path, embedded: list[Sample]) -> None:
    config = BY_CLIP.model_copy(update={"hard_negatives": 9, "hard_negatives_near": "crops"})
    found = verified(Verifier(config, clip_folder, COLOURS)(embedded))
    for item in found:
        rivals = {region.rival for region in item.record.regions}
        said = {name for region in item.record.regions for name in region.names}
        tried = {verdict.name for verdict in item.verdicts if verdict.kind == "there"}
        assert tried == rivals - said


def test_company_changes_nothing(clip_folder: Path, embedded: list[Sample]) -> None:
    config = BY_CLIP.model_copy(update={"hard_negatives": 2})
    verifier = Verifier(config, clip_folder, COLOURS)
    together = verifier(embedded[:5])
    assert [verifier([one])[0] for one in embedded[:5]] == together


# --- the stage


def test_by_default_records_pass_as_they_are(worlds: list[Planted]) -> None:
    sample = replace(worlds[0].sample, pixels=None)
    [found] = verified(Verifier(VerifyConfig())([sample]))
    assert found.record is sample.record
    assert tally([found]) == {}
    assert not VerifyConfig().looks
    assert not VerifyConfig(annotator="clip").looks
    assert VerifyConfig(annotator="clip", hard_negatives=1).looks


def test_other_splits_pass_as_they_are_and_in_their_places(embedded: list[Sample]) -> None:
    held_out = replace(embedded[1], record=replace(embedded[1].record, split="val"))
    found = verified(Verifier(BY_CLIP)([embedded[0], held_out, embedded[2]]))
    assert found[1] == VerifiedRecord(held_out.record)
    assert [item.key for item in found] == [one.key for one in embedded[:3]]
    assert found[2].verdicts


def test_a_user_s_model_is_asked_and_its_babble_is_counted(
    tmp_path: Path, clip_folder: Path, embedded: list[Sample]
) -> None:
    llava = save_tiny_llava(tmp_path / "tiny-llava")
    config = VerifyConfig(
        annotator="vision_language",
        hard_negatives=1,
        vision_language=VisionLanguageConfig(model=str(llava), device="cpu", max_new_tokens=3),
    )
    few = embedded[:2]
    found = verified(Verifier(config, clip_folder, COLOURS)(few))
    counts = tally(found)
    asked = sum(
        2 * len(one.record.regions) + len({region.names[0] for region in one.record.regions}) + 1
        for one in few
    )
    assert sum(len(item.verdicts) for item in found) == asked
    read = sum(counts.get(one, 0) for one in ("names", "boxes", "all_found", "tried"))
    assert counts["unread"] + read == asked
    assert VerifyConfig(annotator="vision_language").on_gpu


def test_verdicts_round_trip_with_equal_bytes(tmp_path: Path, worlds: list[Planted]) -> None:
    found = [*ask(ErringOracle(worlds, ERROR), worlds[:5]), *ask(Says("hm"), worlds[5:6])]
    found.insert(3, VerifiedRecord(replace(worlds[7].sample.record, split="val")))
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        write_verified(folder, "a-000000", found)
    assert read_verified(tmp_path / "one", "a-000000") == found
    files = [path.name for path in sorted((tmp_path / "one").iterdir())]
    assert files == ["a-000000.parquet", "a-000000.verdicts.parquet"]
    for name in files:
        assert sha256_of(tmp_path / "one" / name) == sha256_of(tmp_path / "two" / name)
    (tmp_path / "one" / files[1]).write_bytes(b"no parquet")
    with pytest.raises(ValueError, match="holds no verdicts") as caught:
        read_verified(tmp_path / "one", "a-000000")
    assert "\n" not in str(caught.value)


def test_without_a_verdict_there_is_no_file_of_them(tmp_path: Path, worlds: list[Planted]) -> None:
    items = [VerifiedRecord(worlds[0].sample.record)]
    write_verified(tmp_path, "a-000000", items)
    assert [path.name for path in tmp_path.iterdir()] == ["a-000000.parquet"]
    assert read_verified(tmp_path, "a-000000") == items


def test_wrong_settings_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="hard_negatives need a verifier"):
        VerifyConfig(hard_negatives=3)
    for wrong, said in (
        ({"filter": {"min_name_belief": 0.5}}, r"set verify\.annotator"),
        ({"filter": {"min_box_belief": 0.5}, "verify": {"annotator": "clip"}}, "sees boxes"),
    ):
        with pytest.raises(ValidationError, match=said):
            Config.model_validate(wrong)
    Config.model_validate({"filter": {"min_name_belief": 0.5}, "verify": {"annotator": "clip"}})
    with pytest.raises(ValueError, match="build the stage `clip` first"):
        Verifier(BY_CLIP.model_copy(update={"hard_negatives": 1}), tmp_path, COLOURS)


def test_a_record_without_regions_is_asked_nothing(worlds: list[Planted]) -> None:
    record: Record = replace(worlds[0].sample.record, regions=())
    empty = replace(worlds[0], sample=Sample(record), tried=())
    assert ask(Says("yes"), [empty]) == [VerifiedRecord(record)]
