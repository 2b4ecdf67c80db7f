"""Stage report: one HTML page of the whole build."""

from collections.abc import Mapping
from pathlib import Path

from opendet.build import Build, digest_of
from opendet.entry import stage_main
from opendet.evaluation.report import render_report, write_report
from opendet.evaluation.report_gather import gather


def main(build: Build) -> None:
    config = build.config.report
    inputs = gather(build.folder)

    def make(folder: Path) -> Mapping[str, int]:
        iou = build.config.evaluate.match_iou
        page = render_report(inputs, build.images().read, config, match_iou=iou)
        write_report(folder / "report.html", page)
        return {"bytes": len(page.encode())}

    fingerprint = build.fingerprint("report", config)
    build.run_whole(
        "report", fingerprint, inputs={"gathered": digest_of([repr(inputs)])}, make=make
    )
    print(f"report: {build.stage_folder('report') / 'report.html'}")  # noqa: T201 - the run's result


if __name__ == "__main__":
    stage_main(main, __doc__)
