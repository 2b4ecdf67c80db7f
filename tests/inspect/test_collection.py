"""Collections: every place that samples may lie in, and all that may be wrong with it."""

import errno
import pickle
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendet.inspect import tar_pieces
from opendet.inspect.collection import Collection, Gone, Trouble, open_collection
from opendet.inspect.sample_story import key_at, look_at, nearest_keys
from opendet.inspect.tar_layout import read_member, tar_layout
from opendet.record import Record
from opendet.sample import Sample
from opendet.schema import write_records
from opendet.shards import Member, write_shard
from opendet.stage_order import SAMPLE_STAGES
from tests.shard_world import painted, publish, samples, small_build


def seen(collection: Collection) -> tuple[list[Record], list[Trouble]]:
    found = [one for piece in collection.pieces for one in collection.records(piece)]
    records = [one for one in found if isinstance(one, Record)]
    return records, [one for one in found if isinstance(one, Trouble)]


def contents(collection: Collection) -> dict[str, bytes]:
    """Key -> the image's bytes, of the whole samples."""
    found = (one for piece in collection.pieces for one in collection.samples(piece))
    return {one.key: one.content for one in found if isinstance(one, Sample)}


# --- places


def test_a_folder_of_shards_with_a_manifest(tmp_path: Path) -> None:
    made = small_build(tmp_path / "shards")
    opened = open_collection(tmp_path / "shards")
    assert (opened.name, opened.stage, opened.samples_count) == ("shards", "shards", 15)
    assert [piece.samples for piece in opened.pieces] == [5, 5, 5]
    assert opened.troubles == ()
    assert seen(opened) == ([sample.record for sample in made], [])
    assert contents(opened) == {sample.key: sample.content for sample in made}


def test_a_folder_of_bare_shards_and_one_of_them(tmp_path: Path) -> None:
    made = small_build(tmp_path / "shards")
    for path in (tmp_path / "shards").glob("*.json"):
        path.unlink()
    (tmp_path / "shards" / "a-000001.idx").unlink()
    opened = open_collection(tmp_path / "shards")
    assert (opened.stage, opened.samples_count, opened.troubles) == ("", 15, ())
    assert seen(opened)[0] == [sample.record for sample in made]
    one = open_collection(tmp_path / "shards" / "a-000001.tar")
    assert (one.name, one.samples_count) == ("a-000001.tar", 5)
    assert contents(one) == {sample.key: sample.content for sample in made[5:10]}


def test_the_current_folder_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_build(tmp_path / "shards")
    (tmp_path / "bare").mkdir()
    shutil.copy(tmp_path / "shards" / "a-000000.tar", tmp_path / "bare")
    for name in ("shards", "bare"):
        monkeypatch.chdir(tmp_path / name)
        assert open_collection(Path()).name == name


@given(st.integers(0, 511), st.integers(1, 255))
def test_any_flip_in_a_header_is_seen(place: int, change: int) -> None:
    with tempfile.TemporaryFile() as file:
        header = bytearray(tarfile.TarInfo("a-1.json").tobuf(tarfile.USTAR_FORMAT))
        file.write(header)
        file.flush()
        assert read_member(file, 0) == Member("a-1", "json", 512, 0)
        header[place] ^= change
        file.seek(0)
        file.write(header)
        file.flush()
        try:
            found = read_member(file, 0)
        except ValueError:
            return
        # its blanks may be others: the number that they stand around is the same
        assert found == Member("a-1", "json", 512, 0)
        assert 148 <= place < 156


def test_any_sample_is_found_with_or_without_an_index(tmp_path: Path) -> None:
    made = small_build(tmp_path / "shards")
    for _ in range(2):
        opened = open_collection(tmp_path / "shards")
        for sample in made:
            assert opened.find(sample.key) == sample
        assert opened.find("a-9999") is None
        assert opened.find("a-000") is None, "a part of a key is no key"
        assert opened.find(".*") is None
        assert opened.find("\udcff") is None
        for path in (tmp_path / "shards").glob("*.idx"):
            path.unlink()


def test_a_build_shows_its_fullest_records_and_all_that_left(project: Path) -> None:
    folder = project / "datasets" / "tiny"
    opened = open_collection(folder)
    assert (opened.name, opened.stage) == ("tiny", "shards")
    assert opened.built == tuple(s for s in SAMPLE_STAGES if (folder / s).is_dir())
    assert [gone.fate for gone in opened.gone] == []
    keys = [record.key for record in seen(opened)[0]]
    assert keys == [f"train-p{number}" for number in range(6)]
    packed = contents(opened)
    shutil.rmtree(folder / "shards")
    without = open_collection(folder)
    assert without.stage == "filter"
    assert contents(without) == packed, "pictures come from the source then"


def test_a_stage_and_a_file_of_a_build_reach_its_pictures(finished: Path) -> None:
    folder = finished / "datasets" / "tiny"
    stage = open_collection(folder / "caption")
    assert (stage.name, stage.stage) == ("tiny", "caption")
    [piece, *_] = stage.pieces
    file = open_collection(piece.path)
    assert (file.name, file.stage) == (piece.path.name, "")
    assert contents(file).items() <= contents(stage).items()
    assert len(contents(stage)) == 6
    found = stage.find("train-p3")
    assert isinstance(found, Sample)
    assert found.content == (finished / "pictures" / "p3.jpg").read_bytes()


def test_a_file_of_records_alone_has_no_pictures(tmp_path: Path) -> None:
    made = samples(3)
    write_records(tmp_path / "part.parquet", [sample.record for sample in made])
    opened = open_collection(tmp_path / "part.parquet")
    assert seen(opened) == ([sample.record for sample in made], [])
    [trouble, *_] = opened.samples(opened.pieces[0])
    assert isinstance(trouble, Trouble)
    assert trouble.record == made[0].record
    assert "out of reach" in trouble.line


def test_it_pickles_with_what_reads_pictures(finished: Path) -> None:
    opened = open_collection(finished / "datasets" / "tiny" / "filter")
    again = pickle.loads(pickle.dumps(opened))
    assert contents(again) == contents(opened)
    assert len(contents(again)) == 6


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "no", "is not there: name a build's folder"),
        (lambda folder: folder, "is no build and holds no shards"),
        (lambda folder: _file(folder / "a.zip"), "neither a shard (.tar) nor a file of records"),
        (lambda folder: _file(folder / "a.parquet"), "no readable Parquet file"),
        (lambda folder: _file(folder / "b" / "source.yaml").parent, "nothing of b is built: run"),
        (
            lambda folder: _file(folder / "datasets" / "x" / "source.yaml").parents[2],
            "it is a folder of builds: name one, such as",
        ),
    ],
)
def test_what_is_none_of_them(tmp_path: Path, make: Callable[[Path], Path], said: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        open_collection(make(tmp_path))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_stage_without_samples_and_a_parquet_without_records(finished: Path) -> None:
    folder = finished / "datasets" / "tiny"
    with pytest.raises(ValueError, match=r"is the stage clip's, which holds no samples"):
        open_collection(folder / "clip")
    [vectors, *_] = folder.glob("embed/*.vectors.parquet")
    with pytest.raises(ValueError, match="holds no records"):
        open_collection(vectors)


def test_folders_and_dead_links_that_are_called_as_shards(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", samples(2))
    (tmp_path / "b.tar").mkdir()
    (tmp_path / "c.tar").symlink_to(tmp_path / "nowhere.tar")
    opened = open_collection(tmp_path)
    assert [piece.name for piece in opened.pieces] == ["a"]
    assert opened.troubles == (f"{tmp_path / 'c.tar'} cannot be read: No such file or directory",)


def test_no_samples_at_all(tmp_path: Path) -> None:
    publish(tmp_path / "shards", {"a-000000": []})
    opened = open_collection(tmp_path / "shards")
    assert (opened.samples_count, opened.troubles, seen(opened)) == (0, (), ([], []))


# --- damage


def test_a_cut_shard_shows_what_is_before_the_cut(tmp_path: Path) -> None:
    made = small_build(tmp_path / "shards")
    path = tmp_path / "shards" / "a-000001.tar"
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        cut = tar.getmember(f"{made[7].key}.json").offset_data + 10
    path.write_bytes(whole[:cut])
    opened = open_collection(tmp_path / "shards")
    assert opened.troubles == (f"{path} is damaged: {cut} bytes instead of {len(whole)}",)
    records, troubles = seen(opened)
    assert [record.key for record in records] == [
        sample.key for sample in (*made[:7], *made[10:])
    ], "the index tells which samples are lost"
    assert any(made[7].key in trouble.what and "cut off" in trouble.what for trouble in troubles)
    path.with_suffix(".idx").unlink()
    assert [record.key for record in seen(open_collection(path))[0]] == [
        sample.key for sample in made[5:7]
    ]


def test_a_flipped_header_costs_one_sample(tmp_path: Path) -> None:
    made = small_build(tmp_path / "shards")
    path = tmp_path / "shards" / "a-000000.tar"
    with tarfile.open(path) as tar:
        member = tar.getmember(f"{made[2].key}.json")
    flip(path, member.offset + 3)
    for _ in range(2):
        records, troubles = seen(open_collection(path))
        assert [record.key for record in records] == [made[n].key for n in (0, 1, 3, 4)]
        assert troubles
        path.with_suffix(".idx").unlink(missing_ok=True)
    assert open_collection(path).find(made[3].key) == made[3]


def test_a_flipped_record_and_a_flipped_picture(tmp_path: Path) -> None:
    made = small_build(tmp_path / "shards")
    path = tmp_path / "shards" / "a-000000.tar"
    with tarfile.open(path) as tar:
        flip(path, tar.getmember(f"{made[1].key}.json").offset_data)
        flip(path, tar.getmember(f"{made[3].key}.{made[3].record.format}").offset_data + 60)
    opened = open_collection(path)
    records, troubles = seen(opened)
    assert [record.key for record in records] == [made[n].key for n in (0, 2, 3, 4)]
    assert len(troubles) == 1
    assert set(contents(opened)) == {made[n].key for n in (0, 2, 4)}
    found = opened.find(made[3].key)
    assert isinstance(found, Trouble)
    assert found.record == made[3].record
    assert "is not the one that its record names" in found.line


def test_swapped_shards_and_a_foreign_index(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    train, val = samples(4), samples(3, batch="v", split="val")
    publish(folder, {"a-000000": train, "v-000000": val})
    first, second = folder / "a-000000.tar", folder / "v-000000.tar"
    ours, theirs = first.read_bytes(), second.read_bytes()
    first.write_bytes(theirs)
    second.write_bytes(ours)
    _, troubles = seen(open_collection(folder))
    said = [trouble.what for trouble in troubles]
    assert any("its .idx speaks of other members" in line for line in said)
    assert f"{val[0].key} is of the batch 'v', the shard of 'a'" in said
    assert {trouble.record.key for trouble in troubles if trouble.record} == {
        sample.key for sample in (*train, *val)
    }, "whole records are shown, wherever they lie"


def test_a_stale_index_hides_nothing(tmp_path: Path) -> None:
    """It tells of fewer samples than there are, and they follow each other without a gap."""
    made = samples(6)
    publish(tmp_path / "shards", {"a-000000": made})
    index = tmp_path / "shards" / "a-000000.idx"
    lines = index.read_text().splitlines()
    index.write_text("\n".join(["v1.2 2", *lines[1:3]]) + "\n")
    path = index.with_suffix(".tar")
    opened = open_collection(path)
    records, [trouble] = seen(opened)
    assert [record.key for record in records] == [sample.key for sample in made]
    assert "a-000000.idx" in trouble.line or ".idx speaks" in trouble.line
    assert opened.find(made[5].key) == made[5]


def test_missing_files_and_those_that_no_manifest_knows(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    made = small_build(folder)
    (folder / "a-000001.tar").unlink()
    write_shard(folder / "b-000000.tar", [painted("b-0000")])
    opened = open_collection(folder)
    assert [piece.name for piece in opened.pieces] == ["a-000000", "a-000002"]
    assert any("a-000001.tar is missing (5 samples)" in line for line in opened.troubles)
    assert any("b-000000.tar is not in the manifest" in line for line in opened.troubles)
    assert len(seen(opened)[0]) == len(made) - 5


def test_a_damaged_manifest_leaves_the_shards_to_see(tmp_path: Path) -> None:
    made = small_build(tmp_path / "shards")
    (tmp_path / "shards" / "manifest.json").write_text("{")
    opened = open_collection(tmp_path / "shards")
    assert len(opened.troubles) == 1
    assert "manifest.json is damaged" in opened.troubles[0]
    assert len(seen(opened)[0]) == len(made)


def test_a_picture_and_a_record_are_missing(tmp_path: Path) -> None:
    made = samples(3)
    write_shard(tmp_path / "whole.tar", made)
    wanted = {f"{made[0].key}.json", f"{made[1].key}.{made[1].record.format}"}
    repack(tmp_path / "whole.tar", tmp_path / "a.tar", lambda name: name not in wanted)
    repack(tmp_path / "whole.tar", tmp_path / "b.tar", lambda name: True, twice=made[2].key)
    opened = open_collection(tmp_path / "a.tar")
    records, troubles = seen(opened)
    assert [record.key for record in records] == [made[2].key]
    said = {trouble.what: trouble.record for trouble in troubles}
    assert said[f"{made[0].key} has no record"] is None
    assert said[f"the picture of {made[1].key} is missing"] == made[1].record
    _, again = seen(open_collection(tmp_path / "b.tar"))
    assert {trouble.what.split(": ")[1] for trouble in again} == {
        f"{made[2].key}.{kind} comes again, it is left out"
        for kind in (made[2].record.format, "json")
    }


def test_another_version_of_the_record(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", samples(2))
    path = tmp_path / "a.tar"
    content = path.read_bytes()
    assert content.count(b'"record_version": 2') == 2
    path.write_bytes(content.replace(b'"record_version": 2', b'"record_version": 7'))
    records, troubles = seen(open_collection(path))
    assert records == []
    assert "has record version 7, this Open-Det reads 1 and 2" in troubles[0].line


def test_a_tar_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("hello")
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.add(tmp_path / "plain.txt", "../escape.py")
        tar.add(tmp_path / "plain.txt", "notes.txt")
    records, troubles = seen(open_collection(tmp_path / "a.tar"))
    assert records == []
    assert "neither an image nor a record" in troubles[0].line
    (tmp_path / "b.tar").write_bytes(b"no tar at all" * 100)
    assert "no tar header" in seen(open_collection(tmp_path / "b.tar"))[1][0].line


def test_a_damaged_part_and_a_vanished_picture(project: Path) -> None:
    folder = project / "datasets" / "tiny"
    shutil.rmtree(folder / "shards")
    (project / "pictures" / "p2.jpg").unlink()
    opened = open_collection(folder)
    found = opened.find("train-p2")
    assert isinstance(found, Trouble)
    assert found.record is not None
    assert "its image is gone" in found.line
    part = opened.pieces[0].path
    part.write_bytes(part.read_bytes()[:-40])
    damaged = open_collection(folder)
    assert any(str(part) in line for line in damaged.troubles)
    assert any("train-000000" in trouble.line for trouble in seen(damaged)[1])
    assert len(seen(damaged)[0]) == 2, "the second part is whole"
    with pytest.raises(ValueError, match=f"{opened.pieces[0].name} cannot be read whole and may"):
        look_at(damaged, "train-p2")


def test_a_sample_amid_damage_is_not_said_to_be_unknown(project: Path) -> None:
    folder = project / "datasets" / "tiny" / "filter"
    opened = open_collection(folder)
    part, keys = opened.pieces[0].path, opened.keys(opened.pieces[0])
    columns = pq.read_metadata(part).row_group(0)
    place = {
        columns.column(n).path_in_schema: columns.column(n) for n in range(columns.num_columns)
    }
    content = bytearray(part.read_bytes())
    start = place["caption"].data_page_offset
    content[start : start + place["caption"].total_compressed_size] = b"\xaa" * (
        place["caption"].total_compressed_size
    )
    part.write_bytes(content)
    look = look_at(open_collection(folder), keys[0])
    assert look.story.record is None
    assert look.troubles == (f"{part.name}: {keys[0]} lies where it is damaged",)


# --- one sample


def test_the_story_of_a_kept_one_is_that_of_data_why(finished: Path) -> None:
    from opendet.build import Build
    from opendet.inspect.story import tell_story

    look = look_at(open_collection(finished / "datasets" / "tiny"), "train-p1")
    told = tell_story(Build.open(root=finished), "train-p1")
    assert look.story.chapters == told.chapters
    assert look.story.record == told.record
    assert look.content == (finished / "pictures" / "p1.jpg").read_bytes()


def test_what_left_the_flow_is_told_from_the_stage_before(finished: Path) -> None:
    opened = open_collection(finished / "datasets" / "tiny")
    gone = Gone("train-p4", "filter", "dropped", "too few regions", "0 of 1")
    pieces = tuple(replace(piece, path=piece.path.with_name("away.tar")) for piece in opened.pieces)
    look = look_at(replace(opened, gone=(gone,), pieces=pieces), "train-p4")
    fates = {chapter.stage: chapter.fate for chapter in look.story.chapters}
    assert fates["embed"] == "kept"
    assert list(fates)[-1] == "filter"
    assert look.story.chapters[-1].why == "too few regions (0 of 1)"
    assert look.story.record is not None
    assert look.story.record.key == "train-p4"
    assert look.content


def test_places_count_from_0_over_all_pieces(tmp_path: Path) -> None:
    made = small_build(tmp_path / "shards")
    opened = open_collection(tmp_path / "shards")
    assert [key_at(opened, place) for place in range(15)] == [sample.key for sample in made]
    with pytest.raises(ValueError, match="has no sample 15: it has 15, counted from 0"):
        key_at(opened, 15)


def test_a_shard_that_is_not_for_this_reader_costs_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> object:
        if path.stem == "a-000001":  # root, whom containers run as, is refused nothing
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return tar_layout(path)

    small_build(tmp_path / "toy")
    monkeypatch.setattr(tar_pieces, "tar_layout", refuse)
    opened = open_collection(tmp_path / "toy")
    records, troubles = seen(opened)
    assert len(records) == 10
    assert [one.line for one in troubles] == [
        "a-000001.tar: it cannot be read on: Permission denied"
    ]
    assert len(contents(opened)) == 10


def test_a_place_amid_damage_is_no_other_sample(tmp_path: Path) -> None:
    small_build(tmp_path / "whole")
    first = tmp_path / "whole" / "a-000000.tar"
    first.write_bytes(first.read_bytes()[:2048])
    opened = open_collection(tmp_path / "whole")
    with pytest.raises(ValueError, match=r"^whole has sample 4 in a-000000\.tar, which has fewer"):
        key_at(opened, 4)
    assert key_at(opened, 5) == "a-0005"


def test_the_nearest_keys() -> None:
    known = [f"train-{number:06d}" for number in range(5000)]
    assert nearest_keys("train-004999x", known)[0] == "train-004999"
    assert nearest_keys("frain-000123", known)[0] == "train-000123"
    assert nearest_keys("4321", known) == ["train-004321"]
    assert nearest_keys("~~~", known) == []


def _file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"PAR1 no, PAR1")
    return path


def flip(path: Path, byte: int) -> None:
    content = bytearray(path.read_bytes())
    content[byte] ^= 0x55
    path.write_bytes(content)


def repack(source: Path, target: Path, wanted: Callable[[str], bool], *, twice: str = "") -> None:
    """Copy a shard's members as `tar` would, some of them two times."""
    with tarfile.open(source) as old, tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as new:
        members = [member for member in old.getmembers() if wanted(member.name)]
        again = [member for member in members if twice and member.name.startswith(twice)]
        for member in (*members, *again):
            new.addfile(member, old.extractfile(member))


def test_a_project_opens_the_build_that_it_chooses(tmp_path: Path) -> None:
    small_build(tmp_path / "datasets" / "mine" / "shards", shards=1, each=2)
    (tmp_path / "datasets" / "mine" / "source.yaml").write_text("name: mine\n")
    (tmp_path / "params.yaml").write_text("build: mine\n")
    opened = open_collection(tmp_path)
    assert (opened.name, opened.samples_count) == ("mine", 2)
    (tmp_path / "params.yaml").write_text("build: other\n")
    with pytest.raises(ValueError, match="other is not there"):
        open_collection(tmp_path)
