"""dvc.yaml draws what the stages write: each plot has its file and columns, each table a plot."""

import json
from pathlib import Path
from typing import Any

import yaml

from opendet.evaluation.plot_tables import FOLDER, plot_tables
from opendet.evaluation.report_inputs import ReportInputs

ROOT = Path(__file__).resolve().parent.parent.parent
PLOTS: list[dict[str, dict[str, Any]]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
TABLES = f"datasets/${{build}}/report/{FOLDER}/"


def drawn() -> dict[str, set[str]]:
    """Table of the report -> the columns that plots draw of it."""
    found: dict[str, set[str]] = {}
    for plot in PLOTS:
        for told in plot.values():
            for file, columns in told["y"].items():
                if file.startswith(TABLES):
                    several = columns if isinstance(columns, list) else [columns]
                    name = file.removeprefix(TABLES).removesuffix(".csv")
                    found.setdefault(name, set()).update([told["x"], *several])
    return found


def test_every_table_is_drawn_whole() -> None:
    tables = plot_tables(ReportInputs("nothing"))
    assert drawn() == {name: set(columns) for name, (columns, _) in tables.items()}


def test_templates_of_our_own_are_there() -> None:
    """DVC's own bars begin where the shortest ends; ours at nothing, the longest first."""
    names = {told["template"] for plot in PLOTS for told in plot.values() if "template" in told}
    assert names == {"bars"}
    template = json.loads((ROOT / ".dvc" / "plots" / "bars.json").read_text())
    encoding = template["encoding"]
    assert encoding["x"]["field"] == "<DVC_METRIC_X>"
    assert encoding["y"]["field"] == "<DVC_METRIC_Y>"
    assert encoding["y"]["sort"] == "-x"
    assert encoding["x"].get("scale", {}).get("zero", True)


def test_the_other_plots_are_of_the_training() -> None:
    files = {file for plot in PLOTS for told in plot.values() for file in told["y"]}
    assert {file for file in files if not file.startswith(TABLES)} == {
        "datasets/${build}/train/series.csv"
    }
