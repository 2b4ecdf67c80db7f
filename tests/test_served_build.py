"""A build whose captions and descriptions come from a server, through the stages themselves."""

from collections import Counter
from pathlib import Path

import yaml
from answer_server import answering, completion, models
from project_world import CONFIG, make_project, start_build

from opendet.manifest import read_manifest
from opendet.schema import read_records
from tests import cli_world

ANSWER = "A red mug and two blue boxes lie on a grey floor."


def test_every_image_and_region_is_asked_about(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with answering(lambda asked, before: completion(ANSWER)) as server:
        served = f"{{annotator: served, served: {{address: '{server.address}', backoff_s: 0.01}}}}"
        config = CONFIG.replace("caption: {}", f"caption: {served}")
        config = config.replace("describe: {planted_error_share: 0.3}", f"describe: {served}")
        (project / "configs" / "tiny.yaml").write_text(config)
        stages = ["source", "caption", "regions", "describe"]
        assert start_build(project, actors=0, stages=stages).wait() == 0
        asked = len(server.questions)
    folder = project / "datasets" / "tiny" / "describe"
    manifest = read_manifest(folder)
    records = [
        record
        for part in manifest.parts
        for record in read_records(folder / f"{part.shard.name}.parquet")
    ]
    regions = [region for record in records for region in record.regions]
    assert len(records) == 44
    assert Counter(record.caption for record in records) == {ANSWER: 44}
    assert {region.description for region in regions} == {ANSWER}
    assert asked == len(records) + len(regions)
    assert not any(part.quarantined or part.dropped for part in manifest.parts)


def test_a_prompts_file_is_asked_told_and_followed(tmp_path: Path) -> None:
    project = cli_world.make_project(tmp_path / "project", cli_world.SCENES)
    prompt = project / "configs" / "prompts" / "short.v1.txt"
    prompt.parent.mkdir()
    prompt.write_text("What is it?\n")
    with answering(lambda asked, before: completion(ANSWER)) as server:
        path = project / "configs" / "tiny.yaml"
        served = {"address": server.address, "backoff_s": 0.01}
        caption = {"annotator": "served", "served": served, "prompt": "prompts/short.v1.txt"}
        path.write_text(yaml.safe_dump({**cli_world.CONFIG, "caption": caption}))

        def build() -> int:
            """How many questions reached the server."""
            before = len(server.questions)
            ended = cli_world.run_cli(project, "data", "build", "source", "caption")
            assert ended.code == 0, ended.err
            return len(server.questions) - before

        assert build() == 9
        assert {asked.prompt for asked in server.questions} == {"What is it?"}
        assert build() == 0
        # what the configuration says of a model that nobody asks changes nothing
        other = {**caption, "vision_language": {"model": "another"}}
        path.write_text(yaml.safe_dump({**cli_world.CONFIG, "caption": other}))
        works = project / ".opendet" / "tiny" / "caption"
        assert (build(), len(list(works.iterdir()))) == (0, 1)
        prompt.write_text("What is that?")
        assert build() == 9
        assert {asked.prompt for asked in server.questions[9:]} == {"What is that?"}
        server.listing = models("another-vlm")  # with the same address and an empty served.model
        assert build() == 9
        records = [
            record
            for part in sorted((project / "datasets" / "tiny" / "caption").glob("*.parquet"))
            for record in read_records(part)
        ]
        told = {(one.caption_from.model, one.caption_from.revision) for one in records}
        assert told == {("another-vlm", "prompt short.v1")}
        assert {one.caption_from.prompt for one in records} == {"What is that?"}
