"""A sample's story: kept, refused, dropped or quarantined, it is all there; and a second chance."""

import json
import shutil
from pathlib import Path

import pytest

from opendet.build import Build
from opendet.inspect.story import Chapter, story_lines, tell_story
from opendet.stage_order import SAMPLE_STAGES
from tests.cli_world import COCO, make_project, picture, run_cli, stats_of, write_pictures


def test_a_kept_sample(finished: Path) -> None:
    story = tell_story(Build.open(root=finished), "train-p1")
    assert [chapter.stage for chapter in story.chapters] == list(SAMPLE_STAGES)
    assert {chapter.fate for chapter in story.chapters} == {"kept"}
    assert story.record is not None
    large, small = story.record.regions
    assert (large.label, large.names, large.refusal) == ("dog", ("dog",), "")
    assert small.refusal == "too small"
    text = "\n".join(story_lines(story))
    assert "pictures, batch train (train), MIT" in text
    assert "p1.jpg (jpg, 64x48" in text
    assert "refused: too small" in text
    assert "'dog': regions" in text or "dog" in story.record.caption
    assert "caption by grammar" in text
    assert "agreement" in text


def test_an_unknown_key_names_the_nearest(finished: Path) -> None:
    for asked in ("train-q1", "p1"):
        ended = run_cli(finished, "data", "why", asked)
        assert ended.code == 1
        assert f"no sample {asked!r}; the nearest: train-p1" in ended.line
    assert run_cli(finished, "data", "why", "~~~").line.endswith("has no sample '~~~'")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A label that would steer a terminal, a twin and a GIF; built as far as `describe`."""
    project = make_project(tmp_path / "odd", COCO)
    write_pictures(project)
    folder = project / "pictures"
    world = json.loads((folder / "instances.json").read_text())
    world["categories"][0]["name"] = "cat \x1b[31m\u202egnp.[bold]"
    (folder / "instances.json").write_text(json.dumps(world))
    (folder / "p2.jpg").write_bytes((folder / "p1.jpg").read_bytes())
    (folder / "p4.jpg").write_bytes(b"GIF89a")
    assert run_cli(project, "data", "build", "--until", "describe").code == 0
    return project


def test_what_steers_a_terminal_is_not_printed(odd: Path) -> None:
    """The stage source takes control characters away, and leaves a right-to-left override."""
    ended = run_cli(odd, "data", "why", "train-p0")
    assert ended.code == 0
    assert not set(ended.out) & set("\x1b\u202e")
    assert "gnp.[bold]" in ended.out, "it is shown as it is, and not as markup"


def test_dropped_by_the_source(odd: Path) -> None:
    build = Build.open(root=odd)
    story = tell_story(build, "train-p4")
    assert story.record is None
    assert story.chapters[0] == Chapter("source", "dropped", "format not allowed (p4.jpg)")
    assert [chapter.fate for chapter in story.chapters[1:]] == ["not built"] * 4
    twin = tell_story(build, "train-p2").chapters[0]
    assert twin == Chapter("source", "dropped", "exact duplicate (train-p1)")
    assert "\n".join(story_lines(story)).startswith("train-p4\nstages\n  source     dropped: ")


def test_quarantine_and_a_second_chance(project: Path, finished: Path) -> None:
    """An image that changed after it was checked cannot be packed; put back, it can."""
    changed = project / "pictures/p3.jpg"
    whole = changed.read_bytes()
    changed.write_bytes(picture(99))
    for place in ("datasets/tiny/shards", ".opendet/tiny/shards"):
        shutil.rmtree(project / place)
    assert run_cli(project, "data", "build", "shards").code == 0
    assert stats_of(project)["shards"]["quarantined"] == 1
    said = run_cli(project, "data", "why", "train-p3").out
    assert "shards     quarantined: ValueError: train-p3: p3.jpg changed since" in said
    assert run_cli(project, "data", "verify").code == 0, "the ledger still adds up"

    ended = run_cli(project, "data", "retry", "shards")
    assert (ended.code, ended.out.split()[1]) == (0, "1"), "still broken: a second attempt"
    assert "(attempt 1)" in run_cli(project, "data", "why", "train-p3").out

    changed.write_bytes(whole)
    ended = run_cli(project, "data", "retry", "shards")
    assert (ended.code, ended.out.split()[1]) == (0, "0")
    assert "quarantined" not in run_cli(project, "data", "why", "train-p3").out
    for path in (finished / "datasets/tiny/shards").iterdir():
        assert path.read_bytes() == (project / "datasets/tiny/shards" / path.name).read_bytes()


@pytest.mark.parametrize("stage", ["source", "describe", "filter"])
def test_a_retry_of_nothing_changes_nothing(project: Path, stage: str) -> None:
    folder = project / "datasets/tiny" / stage
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert run_cli(project, "data", "retry", stage).code == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
