"""What a build measured of its own data, in sentences, and what its records show of it."""

import json
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from opendet.build import Build
from opendet.cards.about import Measured
from opendet.cards.page import number
from opendet.cards.tally import RecordTally
from opendet.stage_order import STAGES


def metrics_of(build: Build) -> dict[str, dict[str, Any]]:
    """Stage -> its numbers, of the stages that wrote some. Raises ValueError for a damaged file."""
    found = {}
    for stage in STAGES:
        path = build.folder / "metrics" / f"{stage}.json"
        if path.is_file():
            try:
                found[stage] = dict(json.loads(path.read_bytes())[stage])
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path} is damaged: build the stage {stage} again") from error
    return found


def data_measures(metrics: Mapping[str, Mapping[str, Any]], tally: RecordTally) -> list[Measured]:
    """The numbers of the data stages that a user of the data may want, with what they are."""
    return [
        *_of_the_grammar(metrics.get("describe", {})),
        *_of_agreement(metrics.get("embed", {}), tally),
        *_of_the_filter(metrics.get("filter", {}), metrics.get("describe", {})),
        *_of_the_pool(metrics.get("prototypes", {})),
    ]


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _of_the_grammar(describe: Mapping[str, Any]) -> Iterator[Measured]:
    if planted := describe.get("planted"):
        yield Measured(
            "describe",
            "texts that the grammar made wrong on purpose, so that the filter has something to "
            f"find, of {number(describe['described'])}",
            number(planted),
        )


def _of_agreement(embed: Mapping[str, Any], tally: RecordTally) -> Iterator[Measured]:
    if embed.get("embedded"):
        yield Measured(
            "embed",
            f"crops, of {number(embed['embedded'])}, that CLIP finds nearer to another name of the "
            "vocabulary than to their own",
            number(embed.get("closer_to_another", 0)),
        )
    for which, values in (
        ("kept", tally.agreements_kept),
        ("refused", tally.agreements_refused),
    ):
        if values:
            yield Measured(
                "embed",
                f"median cosine of crop and text over the {number(len(values))} {which} regions "
                "that have one",
                f"{median(values):.3f}",
            )
    if tally.seconded:
        yield Measured(
            "embed",
            "kept regions where another annotator saw something too",
            number(tally.seconded),
        )


def _of_the_filter(counts: Mapping[str, Any], describe: Mapping[str, Any]) -> Iterator[Measured]:
    wrong, caught = counts.get("planted.judged", 0), counts.get("planted.caught", 0)
    planted = wrong <= describe.get("planted", 0)
    called = "planted errors" if planted else "names unlike the source's label"
    if wrong:
        yield Measured(
            "filter",
            f"{called}, of {number(wrong)} that the rules judged, that they refused",
            f"{number(caught)} ({percent(caught / wrong)})",
        )
    if refused := counts.get("disagrees", 0):
        yield Measured(
            "filter",
            f"refusals of a name, of {number(refused)}, that were right by the source's label",
            f"{number(caught)} ({percent(caught / refused)})",
        )


def _of_the_pool(pool: Mapping[str, Any]) -> Iterator[Measured]:
    if "fine" in pool:
        yield Measured(
            "prototypes",
            "coarse and fine prototypes made of the kept regions",
            f"{pool.get('coarse', 0)} and {pool['fine']}",
        )
