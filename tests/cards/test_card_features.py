"""The columns of a Parquet file, as a card tells of them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from opendet.cards.about import Feature
from opendet.cards.features import features_of_parquet


def test_every_kind_of_column_is_known_or_left_out(tmp_path: Path) -> None:
    schema = pa.schema(
        {
            "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            "text": pa.large_string(),
            "yes": pa.bool_(),
            "count": pa.uint8(),
            "boxes": pa.list_(pa.list_(pa.float32(), 4)),
            "things": pa.large_list(pa.struct({"name": pa.string(), "raw": pa.binary()})),
            "raw": pa.binary(),
            "only_raw": pa.struct({"raw": pa.binary()}),
        }
    )
    pq.write_table(schema.empty_table(), tmp_path / "a.parquet")
    told = {"text": "A line.", "things.name": "Of the thing."}
    assert features_of_parquet(tmp_path / "a.parquet", told) == (
        Feature("image", "image"),
        Feature("text", "text", "A line."),
        Feature("yes", "truth"),
        Feature("count", "integer"),
        Feature("boxes", "number", many=True),
        Feature("things", "struct", many=True, parts=(Feature("name", "text", "Of the thing."),)),
    )
