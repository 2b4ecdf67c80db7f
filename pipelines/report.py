"""Stage report: one HTML page of the whole build."""

from collections.abc import Mapping
from pathlib import Path

from opendet.build import Build
from opendet.entry import stage_main
from opendet.evaluation.plot_tables import write_plot_tables
from opendet.evaluation.report import render_report, template_digest, write_report
from opendet.evaluation.report_gather import gather
from opendet.files import sha256_of


def main(build: Build) -> None:
    config = build.config.report
    inputs = gather(build.folder)
    shown = {
        path.relative_to(build.folder).as_posix(): sha256_of(path)
        for path in sorted(build.folder.glob("*/*.json"))
        if path.parent.name != "report" and path.name != "report.json"
    }

    def make(folder: Path) -> Mapping[str, int]:
        iou = build.config.evaluate.match_iou
        page = render_report(inputs, build.images(needed=False).read, config, match_iou=iou)
        write_report(folder / "report.html", page)
        write_plot_tables(folder, inputs)
        return {"bytes": len(page.encode())}

    shown["source.yaml"] = sha256_of(build.folder / "source.yaml")
    fingerprint = build.fingerprint("report", config, models={"page": template_digest()})
    build.run_whole("report", fingerprint, inputs=shown, make=make)
    print(f"report: {build.stage_folder('report') / 'report.html'}")  # noqa: T201 - the run's result


if __name__ == "__main__":
    stage_main(main, __doc__)
