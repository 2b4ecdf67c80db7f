"""A build whose captions and descriptions come from a server, through the stages themselves."""

from collections import Counter
from pathlib import Path

from answer_server import answering, completion
from project_world import CONFIG, make_project, start_build

from opendet.manifest import read_manifest
from opendet.schema import read_records

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
