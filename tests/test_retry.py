"""A picture that was away while a stage ran comes back: retry asks for it alone."""

from pathlib import Path

from opendet.manifest import read_manifest
from tests.cli_world import COCO, make_project, picture, run_cli, write_pictures


def test_a_picture_that_came_back_is_retried_and_the_build_is_whole(tmp_path: Path) -> None:
    undisturbed = make_project(tmp_path / "undisturbed", COCO)
    project = make_project(tmp_path / "project", COCO)
    for one in (undisturbed, project):
        write_pictures(one)
    assert run_cli(undisturbed, "data", "build").code == 0

    lost = project / "pictures" / "p2.jpg"
    assert run_cli(project, "data", "build", "--until", "clip").code == 0
    lost.unlink()
    assert run_cli(project, "data", "build", "embed", "verify", "filter", "shards").code == 0
    [sick] = quarantined(project, "embed")
    assert sick.key == "train-p2"
    assert "its image is gone" in sick.error
    assert str(tmp_path) not in (project / "datasets/tiny/embed/manifest.json").read_text()
    story = run_cli(project, "data", "why", "train-p2").out
    assert "quarantined" in story

    assert run_cli(project, "data", "retry", "embed").code == 0
    assert [entry.attempt for entry in quarantined(project, "embed")] == [1]
    lost.write_bytes(picture(2))
    assert run_cli(project, "data", "retry", "embed").code == 0
    assert quarantined(project, "embed") == []
    assert run_cli(project, "data", "build").code == 0
    assert run_cli(project, "data", "verify").code == 0
    for path in (undisturbed / "datasets/tiny").rglob("*.*"):
        twin = project / path.relative_to(undisturbed)
        if path.suffix in (".tar", ".parquet", ".safetensors"):
            assert twin.read_bytes() == path.read_bytes(), path.name


def test_a_folder_that_is_away_stops_the_stage_and_quarantines_nobody(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", COCO)
    write_pictures(project)
    assert run_cli(project, "data", "build", "--until", "clip").code == 0
    (project / "pictures").rename(project / "unmounted")
    ended = run_cli(project, "data", "build", "embed")
    assert ended.code == 1
    assert "mend its root" in ended.err.splitlines()[-1]
    assert not (project / "datasets/tiny/embed").exists()


def quarantined(project: Path, stage: str) -> list:  # type: ignore[type-arg]
    parts = read_manifest(project / "datasets/tiny" / stage).parts
    return [entry for part in parts for entry in part.quarantined]
