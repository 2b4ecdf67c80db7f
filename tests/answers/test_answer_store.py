"""Kinds, packs, and what the store says of itself."""

from hashlib import sha256
from pathlib import Path

import pytest

from opendet.answers.packing import open_pack, pack_numbers
from opendet.answers.segments import Segments
from opendet.answers.store import (
    kind_name,
    kinds_of,
    open_kind,
    pack_kind,
    question_key,
    remove_kind,
)
from opendet.files import BusyError, exclusive_lock

KIND = {"answers": "text", "model": "llava", "revision": "1"}


def filled(store: Path, names: str) -> Segments:
    segments = open_kind(store, KIND)
    segments.add({question_key(name=name): {"text": name * 3} for name in names})
    return segments


def test_a_key_hangs_on_every_part_and_on_no_order():
    assert question_key(a=1, b=[2]) == question_key(b=[2], a=1) != question_key(a=1, b=[3])
    assert kind_name(KIND) != kind_name(KIND | {"revision": "2"})


def test_packing_changes_no_answer_and_can_be_done_again(tmp_path: Path):
    store = tmp_path / "answers"
    filled(store, "abc").close()
    filled(store, "cde").close()
    folder = store / kind_name(KIND)
    before = dict(Segments(folder).texts())
    assert pack_kind(store, folder.name) == 5
    assert not list(folder.glob("*.jsonl"))
    assert dict(Segments(folder).texts()) == before
    filled(store, "fe").close()
    [stats] = kinds_of(store)
    assert (stats.answers, stats.kind, stats.name) == (6, KIND, folder.name)
    assert pack_kind(store, folder.name) == 6
    assert pack_numbers(folder) == [2]
    found = open_kind(store, KIND).find([question_key(name=name) for name in "abcdefg"])
    assert [value["text"][0] for value in found.values()] == list("abcdef")


def test_a_large_pack_finds_each_key_and_no_other(tmp_path: Path):
    segments = open_kind(tmp_path, KIND)
    segments.add({sha256(str(n).encode()).hexdigest(): n for n in range(1000)})
    pack_kind(tmp_path, kind_name(KIND))
    pack, number = open_pack(tmp_path / kind_name(KIND))
    assert pack is not None
    assert number == 1
    for number in range(1000):
        assert pack.find(sha256(str(number).encode()).digest()) == str(number).encode()
        assert pack.find(sha256(f"no {number}".encode()).digest()) is None


def test_what_is_added_while_it_is_packed_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    writer = filled(tmp_path, "ab")
    texts = Segments.texts

    def texts_and_more(self: Segments):
        yield from texts(self)
        writer.add({question_key(name="late"): "late"})

    monkeypatch.setattr(Segments, "texts", texts_and_more)
    with pytest.raises(BusyError, match="grows while it is packed"):
        pack_kind(tmp_path, kind_name(KIND))
    assert not pack_numbers(tmp_path / kind_name(KIND))
    assert len(open_kind(tmp_path, KIND)) == 3


def test_two_do_not_pack_at_once(tmp_path: Path):
    filled(tmp_path, "a")
    folder = tmp_path / kind_name(KIND)
    held = exclusive_lock(folder / "packing.lock", what="it")
    with held, pytest.raises(BusyError):
        pack_kind(tmp_path, folder.name)


@pytest.mark.parametrize("damage", ["cut", "without values", "empty values"])
def test_a_damaged_pack_is_named(tmp_path: Path, damage: str):
    filled(tmp_path, "abc")
    folder = tmp_path / kind_name(KIND)
    pack_kind(tmp_path, folder.name)
    keys, values = folder / "pack-000001.keys", folder / "pack-000001.values"
    if damage == "cut":
        keys.write_bytes(keys.read_bytes()[:-1])
    elif damage == "empty values":
        values.write_bytes(b"")
    else:
        values.unlink()
    with pytest.raises(ValueError, match=r"pack-000001.keys and its .values are damaged"):
        Segments(folder).find([question_key(name="a")])


def test_who_has_the_kind_open_goes_on_when_it_is_packed(tmp_path: Path):
    """A reader finds what it knew and what is new; a writer's next answer is not lost."""
    writer, reader = filled(tmp_path, "ab"), open_kind(tmp_path, KIND)
    a, b, c, d = (question_key(name=name) for name in "abcd")
    assert reader.find([a])
    for _ in range(2):  # from segments into the first pack, and from that into the second
        pack_kind(tmp_path, kind_name(KIND))
        assert set(reader.find([a, b])) == {a, b}
    writer.add({c: "late"})
    assert reader.find([c, d]) == {c: "late"}
    assert len(open_kind(tmp_path, KIND)) == 3
    pack_kind(tmp_path, kind_name(KIND))
    assert set(writer.find([a, b, c])) == {a, b, c}


def test_a_packing_that_was_killed_leaves_nothing_that_counts(tmp_path: Path):
    filled(tmp_path, "ab")
    folder = tmp_path / kind_name(KIND)
    (folder / "pack-000007.values").write_bytes(b"x")
    (folder / "pack-000008.growing").write_bytes(b"x")
    assert pack_kind(tmp_path, folder.name) == 2
    names = sorted(path.name for path in folder.glob("pack-*"))
    assert names == ["pack-000001.keys", "pack-000001.values"]


@pytest.mark.parametrize("kind", ["", "{"])
def test_a_damaged_kind_is_named(tmp_path: Path, kind: str):
    filled(tmp_path, "a")
    (tmp_path / kind_name(KIND) / "kind.json").write_text(kind)
    with pytest.raises(ValueError, match=r"kind.json is damaged: remove"):
        list(kinds_of(tmp_path))


def test_a_place_that_is_no_folder_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"run.answers: .* cannot be used"):
        open_kind(tmp_path / "file", KIND)


def test_an_empty_kind_packs_to_nothing(tmp_path: Path):
    open_kind(tmp_path, KIND)
    assert pack_kind(tmp_path, kind_name(KIND)) == 0
    assert len(open_kind(tmp_path, KIND)) == 0


def test_a_removed_kind_is_gone_and_can_begin_again(tmp_path: Path):
    filled(tmp_path, "abc")
    remove_kind(tmp_path, kind_name(KIND))
    assert list(kinds_of(tmp_path)) == []
    assert len(filled(tmp_path, "a")) == 1


def test_a_store_that_is_not_there_is_one_line(tmp_path: Path):
    with pytest.raises(ValueError, match="there is no answer store at"):
        list(kinds_of(tmp_path / "none"))
