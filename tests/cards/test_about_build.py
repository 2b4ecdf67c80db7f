"""What is gathered of a build is what its manifests and records say."""

import shutil
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from opendet.build import Build
from opendet.cards.about_build import about_build, build_records
from opendet.cards.data_files import shard_files
from opendet.exports.shard_records import without_refusals
from opendet.record import Provenance
from opendet.shard_set import ShardSet
from tests.cards.card_world import HOSTILE, LICENCES, build_project


def opened(project: Path) -> Build:
    return Build.open("tiny", root=project)


def test_the_numbers_are_those_of_the_pictures(finished: Path) -> None:
    about = about_build(opened(finished))
    assert [(one.split, one.images, one.regions, one.kept) for one in about.splits] == [
        ("train", 6, 12, 6),  # half of the boxes are too small, and rules judge train alone
        ("val", 2, 4, 4),
    ]
    assert "Regions of the split val, which no rule judged: 4." in about.limits
    assert about.formats == (("jpg", 8),)
    [source] = about.sources
    assert source.title == "Pictures | of <b>noise</b>"
    assert source.licences == tuple((one, 4) for one in sorted(LICENCES))
    assert "The licences of 4 of 8 images forbid commercial use" in about.limits[0]
    stages = {one.stage: one for one in about.stages}
    assert stages["source"].images_in == stages["shards"].images_out == 8
    assert stages["filter"].refused == (("too small", 6),)


def test_who_said_what_is_counted(finished: Path) -> None:
    said = {
        one.name: (one.kind, dict(one.said)) for one in about_build(opened(finished)).annotators
    }
    assert said["source"] == ("source", {"boxes": 16})
    assert said["grammar"][0] == "rules"
    assert said["grammar"][1]["captions"] == 8
    assert said["opendet-tiny"][0] == "own"


def test_names_are_those_of_kept_regions(finished: Path) -> None:
    about = about_build(opened(finished))
    kept = [
        region for one in build_records(opened(finished)) for region in one.regions if region.kept
    ]
    assert sum(count for _, count in about.names) == len(kept)
    assert {name for name, _ in about.names} == {region.names[0] for region in kept}
    assert HOSTILE in dict(about.names)


def test_a_split_alone(finished: Path) -> None:
    about = about_build(opened(finished), splits=["val"])
    assert [one.split for one in about.splits] == ["val"]
    assert about.images == 2
    assert "There is no split train." in about.limits


def test_records_as_an_export_changed_them(finished: Path) -> None:
    about = about_build(opened(finished), change=without_refusals)
    assert all(one.kept == one.regions for one in about.splits)


def test_the_records_are_those_of_the_shards_wherever_they_are_read(project: Path) -> None:
    build = opened(project)
    shards = ShardSet.open(build.stage_folder("shards"))
    packed = [shards.record(index) for index in range(len(shards))]
    assert list(build_records(build)) == packed
    shutil.rmtree(build.stage_folder("filter"))
    assert list(build_records(build)) == packed


@pytest.mark.slow
def test_shards_without_refused_regions_are_told_as_they_are(tmp_path: Path) -> None:
    config = {"shards": {"keep_refused": False}}
    build = opened(build_project(tmp_path / "project", config))
    shards = ShardSet.open(build.stage_folder("shards"))
    assert list(build_records(build)) == [shards.record(index) for index in range(len(shards))]
    assert [one.regions for one in about_build(build).splits] == [6, 4]


def test_before_there_are_shards_it_tells_of_the_last_records(project: Path) -> None:
    for stage in ("shards", "prototypes", "filter", "verify", "embed"):
        shutil.rmtree(project / "datasets" / "tiny" / stage)
    build = opened(project)
    about = about_build(build)
    assert about.images == 8
    assert shard_files(build) == ()
    assert about.stages[-1].stage == "describe"


def test_the_version_is_the_data_s(finished: Path, project: Path) -> None:
    version = about_build(opened(project)).version
    assert version == about_build(opened(finished)).version
    shutil.rmtree(project / "datasets" / "tiny" / "shards")
    assert about_build(opened(project)).version != version


def test_the_files_are_the_manifest_s(finished: Path) -> None:
    build = opened(finished)
    files = shard_files(build)
    assert [one.split for one in files] == ["train", "train", "val"]
    for one in files:
        assert (build.folder / one.path).stat().st_size == one.bytes
    assert [one.split for one in shard_files(build, ["val"])] == ["val"]


def test_a_build_of_nothing_is_one_line(project: Path) -> None:
    for folder in (project / "datasets" / "tiny").iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
    with chdir(project), pytest.raises(ValueError, match="nothing of tiny is built: run `opendet"):
        about_build(opened(project))


def test_a_damaged_metric_is_one_line(project: Path) -> None:
    (project / "datasets" / "tiny" / "metrics" / "filter.json").write_text("[]")
    with pytest.raises(ValueError, match=r"filter\.json is damaged: build the stage filter again"):
        about_build(opened(project))


def test_an_annotating_model_s_own_folder_tells_its_licence(project: Path) -> None:
    """Whatever the configuration calls the folder, provenance calls it by its name."""
    folder = project / "models" / "my-llava"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    caption = {"vision_language": {"model": "models/my-llava"}}
    config = project / "configs" / "tiny.yaml"
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "caption": caption}))
    said = Provenance("my-llava", "r1")
    about = about_build(opened(project), change=lambda one: replace(one, caption_from=said))
    [model] = [one for one in about.annotators if one.kind == "model"]
    assert (model.name, model.revision, dict(model.said)) == ("my-llava", "r1", {"captions": 8})
    assert (model.licence, model.licence_from) == ("cc-by-nc-4.0", "the model's own folder")


def test_people_who_corrected_are_no_model(finished: Path) -> None:
    said = Provenance("correction", "batch1")
    about = about_build(opened(finished), change=lambda one: replace(one, caption_from=said))
    kinds = {one.name: one.kind for one in about.annotators}
    assert kinds["correction"] == "people"
