"""The CSV of boxes, to the letter."""

from dataclasses import replace
from pathlib import Path

from opendet.corrections.comparing import state_of
from opendet.exports.csv_file import write_csv
from opendet.record import Provenance
from tests.exports.export_world import DOG, record


def test_a_row_is_a_box(tmp_path: Path) -> None:
    scored = replace(DOG, box_from=Provenance("toy", score=0.25), names=('the "=dog"',))
    records = [
        record("a.jpg", [scored, replace(DOG, refusal="too small")]),
        record("=b.jpg", split="val"),
    ]
    left_out = write_csv(records, tmp_path)
    assert left_out == {"licence": 2, "other label": 1, "refused box": 1}
    first, second = (f"s{state_of(one)}" for one in records)
    assert (tmp_path / "objects.csv").read_text().splitlines() == [
        "key,split,file,width,height,x0,y0,x1,y1,name,score,state",
        f'b-a,train,a.jpg,20,10,1.5,2.0,11.25,8.0,"the ""=dog""",0.25,{first}',
        f"{records[1].key},val,'=b.jpg,20,10,,,,,,,{second}",
    ]


def test_images_of_one_container_are_told_apart_by_their_keys(tmp_path: Path) -> None:
    drawn = [record("images.parquet", [DOG], key=key) for key in ("b-1", "b-2")]
    assert "image (same file as another)" not in write_csv(drawn, tmp_path)
    rows = (tmp_path / "objects.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["b-1", "b-2"]


def test_no_image_is_a_head_alone(tmp_path: Path) -> None:
    write_csv([], tmp_path)
    text = (tmp_path / "objects.csv").read_text()
    assert text == "key,split,file,width,height,x0,y0,x1,y1,name,score,state\n"
