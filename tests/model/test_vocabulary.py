"""A vocabulary on disk: what was written is read, and what is no vocabulary says so in one line."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from opendet.annotators.hash_text import HashTextEncoder
from opendet.model.vocabulary import (
    Vocabulary,
    encode_vocabulary,
    read_vocabulary,
    write_vocabulary,
)

TOWER = HashTextEncoder(16)


def some() -> Vocabulary:
    return encode_vocabulary(("cat", "traffic light", "chaise à bascule"), TOWER, "a {name}")


def test_there_and_back_and_the_same_bytes(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "one", some())
    write_vocabulary(tmp_path / "two", some())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    back = read_vocabulary(tmp_path / "one")
    assert back.names == ("cat", "traffic light", "chaise à bascule")
    assert torch.equal(back.vectors, some().vectors)
    assert (back.tower, back.template, back.width) == (TOWER.revision, "a {name}", 16)


def test_vectors_are_of_the_template_and_a_name_is_there_once() -> None:
    made = encode_vocabulary(("cat", "dog", "cat"), TOWER, "big {name}")
    assert made.names == ("cat", "dog")
    wanted = torch.as_tensor(TOWER.encode_texts(["big cat", "big dog"]))
    assert torch.allclose(made.vectors, wanted)


def test_some_of_it_in_the_order_asked() -> None:
    part = some().only(("traffic light", "cat", "cat"))
    assert part.names == ("traffic light", "cat")
    assert torch.equal(part.vectors, some().vectors[[1, 0]])
    assert some().only(()).names == some().names
    with pytest.raises(ValueError, match=r"lacks 'emu' \(1 of 2\)"):
        some().only(("cat", "emu"))


def test_no_names() -> None:
    with pytest.raises(ValueError, match="at least one name"):
        encode_vocabulary((), TOWER, "{name}")


UNIT = torch.eye(2, 4)
NOTE = '{"names": ["a", "b"], "tower": "t", "template": "{name}"}'


@pytest.mark.parametrize(
    ("vectors", "note", "says"),
    [
        (UNIT, NOTE.replace("names", "words"), "names Field required"),
        (UNIT, NOTE.replace('"b"', '"a"'), "twice"),
        (UNIT, NOTE.replace('"b"', '""'), "a name is missing"),
        (UNIT, NOTE.replace(', "b"', ""), r"1 names have vectors of shape \(2, 4\)"),
        (UNIT, "not json", "Invalid JSON"),
        (UNIT * 2, NOTE, "no unit vector"),
        (UNIT * torch.nan, NOTE, "no unit vector"),
        (UNIT[0], NOTE, r"of shape \(4,\)"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, vectors: torch.Tensor, note: str, says: str) -> None:
    save_file({"vectors": vectors}, tmp_path / "file", {"vocabulary": note})
    with pytest.raises(ValueError, match=says) as error:
        read_vocabulary(tmp_path / "file")
    assert str(error.value).startswith(f"{tmp_path / 'file'} is no vocabulary")
    assert "\n" not in str(error.value)


def test_a_file_of_something_else_and_none(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("cat\ndog\n")
    with pytest.raises(ValueError, match="is no vocabulary"):
        read_vocabulary(tmp_path / "text")
    save_file({"vectors": UNIT}, tmp_path / "bare")
    with pytest.raises(ValueError, match="is no vocabulary"):
        read_vocabulary(tmp_path / "bare")
    with pytest.raises(ValueError, match="there is no vocabulary"):
        read_vocabulary(tmp_path / "gone")
