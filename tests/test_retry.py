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
    begun = project / "datasets" / "tiny" / "metrics" / ".embed.json.abcdefgh"
    begun.write_text("what a kill has left")
    assert run_cli(project, "data", "build", "embed", "verify", "filter", "shards").code == 0
    assert not begun.exists()
    [sick] = quarantined(project, "embed")
    assert sick.key == "train-p2"
    assert "its image is gone" in sick.error
    assert str(tmp_path) not in (project / "datasets/tiny/embed/manifest.json").read_text()
    story = run_cli(project, "data", "why", "train-p2").out
    assert "quarantined" in story

    (project / "dvc.yaml").touch()
    retried = run_cli(project, "data", "retry", "embed")
    assert (retried.code, retried.out.splitlines()[0]) == (0, "embed: 1 sample is quarantined now")
    assert "`dvc commit -f embed`" in retried.out
    assert [entry.attempt for entry in quarantined(project, "embed")] == [1]
    lost.write_bytes(picture(2))
    (project / "params.yaml").write_text("build: another\n")
    retried = run_cli(project, "data", "retry", "embed", "--build", "tiny")
    assert retried.out == "embed: 0 samples are quarantined now\n", "DVC runs another build"
    assert quarantined(project, "embed") == []
    (project / "params.yaml").write_text("build: tiny\n")
    idle = run_cli(project, "data", "retry", "embed")
    assert (idle.code, idle.out) == (0, "nothing of embed is quarantined\n")
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
    assert "mend its `root`" in ended.err.splitlines()[-1]
    assert not (project / "datasets/tiny/embed").exists()


def quarantined(project: Path, stage: str) -> list:  # type: ignore[type-arg]
    parts = read_manifest(project / "datasets/tiny" / stage).parts
    return [entry for part in parts for entry in part.quarantined]
