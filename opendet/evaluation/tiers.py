"""How often training names a label: frequent, common, rare, or never."""

from collections import Counter
from collections.abc import Iterable, Mapping

from opendet.evaluation.config import EvaluateConfig
from opendet.record import Record

TIERS = ("frequent", "common", "rare", "unseen")
TRAINED = TIERS[:-1]


def count_names(records: Iterable[Record]) -> Counter[str]:
    """How often each text is the preferred name of a region that training may use."""
    return Counter(
        region.names[0]
        for record in records
        for region in record.regions
        if region.kept and region.names
    )


def tier_of(count: int, config: EvaluateConfig) -> str:
    if count >= config.frequent_from:
        return "frequent"
    if count >= config.common_from:
        return "common"
    return "rare" if count else "unseen"


def tiers_by_count(
    counts: Mapping[str, int], labels: Iterable[str], config: EvaluateConfig
) -> dict[str, str]:
    """The tier of every label, for a source that does not give tiers itself."""
    return {label: tier_of(counts.get(label, 0), config) for label in sorted(set(labels))}


def truth_labels(records: Iterable[Record]) -> set[str]:
    """Every label that the source gives in these records."""
    return {
        region.label for record in records for region in record.regions if region.label is not None
    }
