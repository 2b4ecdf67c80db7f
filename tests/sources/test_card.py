"""The source card: what it inherits, and one clear line for each thing that can be wrong."""

from pathlib import Path

import pytest

from opendet.sources.card import SourceCard, expand, read_card

GOOD = """
name: birds
licence: MIT
format: folder
root: photos
batches:
  - {name: one, split: train}
  - {name: two, split: val, root: more, licence: CC0-1.0}
"""


def read(folder: Path, text: str | bytes) -> SourceCard:
    path = folder / "source.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_card(path)


def test_a_batch_has_what_the_card_says_unless_it_says_otherwise(tmp_path: Path) -> None:
    card = read(tmp_path, GOOD)
    one, two = card.batches
    assert (one.format, one.root, one.licence) == ("folder", "photos", "MIT")
    assert (two.format, two.root, two.licence) == ("folder", "more", "CC0-1.0")
    assert card.batch("two") is two
    assert one.folder(tmp_path) == tmp_path / "photos"
    with pytest.raises(ValueError, match="no batch three: it has one, two"):
        card.batch("three")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("split: train", "spilt: train", r"batches\.0\.spilt: no such key \(did you mean split\?"),
        ("licence: MIT", "license: MIT", r"license: no such key \(did you mean licence\?\)"),
        ("root: photos", "scenes: {sede: 1}", r"scenes\.sede: no such key \(did you mean seed\?"),
        ("name: one", "name: two", "two batches are called two"),
        ("name: one", "name: o_ne", r"batches\.0\.name: String should match"),
        ("name: one", "name: one, images: ../etc", r"batches\.0: .*leaves the batch's root"),
        ("name: one", "name: one, format: coco", r"batches\.0: .*coco needs `annotations`"),
        ("name: one", "name: one, format: scenes", r"batches\.0: .*needs `count`"),
        ("root: photos", "", r"batches\.0: .*folder needs `root`"),
        ("batches:", "batches: [", "is not YAML: .*line"),
        ("split: train", "split: trian", r"batches\.0\.split: Input should be 'train', 'val'"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        read(tmp_path, GOOD.replace(old, new, 1))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "source.yaml"))


def test_both_mistakes_are_shown_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("split: train", "spilt: train").replace("format: folder", "formt: folder")
    with pytest.raises(ValueError, match=r"formt: no such key.*did you mean format") as caught:
        read(tmp_path, text)
    assert "batches.0.spilt" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "whole"),
    [
        ("licence: MIT\n", "", "licence: Field required"),  # of both batches as well
        ("root: photos\n", "", "batches.0: a batch of format folder needs `root`"),
        (
            "split: train",
            "split: trian",
            "batches.0.split: Input should be 'train', 'val' or 'test', not 'trian' "
            "(did you mean train?)",
        ),
        ("root: photos", "root: [a, b]", "root: Input should be a valid string"),
        (
            "format: folder\n",
            "",
            "batches.0.format: Field required (and in 1 more)",
        ),
    ],
)
def test_a_mistake_is_said_once_and_nothing_else(
    tmp_path: Path, old: str, new: str, whole: str
) -> None:
    with pytest.raises(ValueError, match=":") as caught:
        read(tmp_path, GOOD.replace(old, new, 1))
    assert str(caught.value) == f"{tmp_path / 'source.yaml'}: {whole}"


def test_a_long_mistake_is_cut(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="should match pattern") as caught:
        read(tmp_path, GOOD.replace("name: one", f"name: {'x' * 5000}"))
    assert len(str(caught.value)) < len(str(tmp_path)) + 300


@pytest.mark.parametrize("content", [b"\xff\xfe\xfa", b"just text", b"", b"[1, 2]"])
def test_other_files_are_one_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"source\.yaml") as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_a_missing_card_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a source card"):
        read_card(tmp_path / "source.yaml")


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIRDS", raising=False)
    assert expand("${BIRDS:-here}/x") == "here/x"
    assert expand("$BIRDS and ${}") == "$BIRDS and ${}"
    with pytest.raises(ValueError, match="environment variable BIRDS: set it"):
        expand("${BIRDS}/x")
    monkeypatch.setenv("BIRDS", "there")
    assert expand("${BIRDS:-here}/${BIRDS}") == "there/there"
    monkeypatch.setenv("BIRDS", "")
    assert expand("${BIRDS:-here}") == "here"
