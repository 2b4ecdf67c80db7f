"""Fuzzing: damage is seeded, a reader that fails is seen, and what once was found stays mended."""

import json
import random
import tarfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opendet.faults import fuzz_coverage, fuzzed
from opendet.faults.annotation_seeds import seeds
from opendet.faults.fuzz_coverage import Once
from opendet.faults.fuzz_targets import Target, targets
from opendet.faults.fuzzed import fuzz, lay
from opendet.faults.killed import bytes_of
from opendet.faults.mutations import mutated, mutated_header, mutated_json
from opendet.faults.refusals import refused
from opendet.faults.rows import Effort
from opendet.faults.toy_shards import write_toy_shards
from opendet.inspect.collection import Trouble, open_collection
from opendet.inspect.part_keys import record_keys
from opendet.manifest import PartCommit
from opendet.shard_notes import Notes, NoteStore, ShardLook
from opendet.sources.batches import READERS
from opendet.sources.plain_pickle import read_plain_pickle
from opendet.stage import Task
from opendet.work import WorkFolder
from opendet.yaml_file import read_yaml


@pytest.mark.parametrize("change", [mutated, mutated_json, mutated_header])
def test_damage_is_seeded_and_changes_something(change: object, tmp_path: Path) -> None:
    assert callable(change)
    write_toy_shards(tmp_path / "shards", shards=1, each=1)
    content = (tmp_path / "shards" / "a-000000.tar").read_bytes()
    for one in (content, b'{"a": [1, 2]}', b""):
        damaged = [change(one, random.Random(seed)) for seed in range(30)]
        assert damaged == [change(one, random.Random(seed)) for seed in range(30)]
        assert sum(other != one for other in damaged) > 20


def test_a_changed_header_has_its_checksum(tmp_path: Path) -> None:
    write_toy_shards(tmp_path / "shards", shards=1, each=1)
    content = (tmp_path / "shards" / "a-000000.tar").read_bytes()
    whole = 0
    for seed in range(40):
        damaged = mutated_header(content, random.Random(seed))
        headers = [damaged[at : at + 512] for at in range(0, 1024 + len(damaged) // 2, 512)]
        found = [header for header in headers if header[257:262] == b"ustar"]
        sums = [sum(one[:148]) + 8 * ord(" ") + sum(one[156:]) for one in found]
        assert [int(one[148:154].strip(b" \0"), 8) for one in found] == sums
        whole += len(found)
    assert whole >= 40


def test_every_format_is_fuzzed_and_every_seed_is_read(tmp_path: Path) -> None:
    assert {str(seed.batch["format"]) for seed in seeds().values()} == {*READERS} - {"folder"}
    for number, target in enumerate(targets(tmp_path / "seeds")):
        done = fuzz(target, tmp_path / str(number), range(4))
        assert done.problems == ()
        assert done.tries == 4


def _laid(name: str, folder: Path) -> Target:
    """A target, whose files are put there."""
    [target] = [one for one in targets(folder.with_name("seeds")) if one.name == name]
    lay({**target.files, **target.beside}, folder)
    return target


@pytest.mark.parametrize("name", ["a folder of shards", "shards that the manifest vouches for"])
def test_shards_are_read_by_their_notes_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []
    read = NoteStore.read

    def told(store: NoteStore, look: ShardLook) -> Notes | None:
        notes = read(store, look)
        found.append(notes is not None)
        return notes

    monkeypatch.setattr(NoteStore, "read", told)
    target = _laid(name, tmp_path / "here")
    for _ in range(2):
        target.read(tmp_path / "here")
    assert found == [False, False, True, True] * 2, "none of another try"


def test_a_commit_record_that_counts_for_another_part_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(_: WorkFolder, task: Task) -> PartCommit:
        return PartCommit(task.shard, 0, 0, (), (), {}, {}, task.inputs)

    target = _laid("a commit record", tmp_path / "here")
    target.read(tmp_path / "here")
    monkeypatch.setattr(WorkFolder, "committed", careless)
    with pytest.raises(AssertionError, match=r"it counts, with the files \{\}"):
        target.read(tmp_path / "here")


def _reader(behaviour: str) -> Target:
    reads = []

    def read(folder: Path) -> None:
        reads.append((folder / "a.json").read_bytes())
        if len(reads) == 1:  # the undamaged one
            return
        match behaviour:
            case "crash":
                raise KeyError("a")
            case "hang":
                time.sleep(60)
            case "babble":
                raise ValueError("a.json: one\ntwo")
            case "namelessly":
                raise ValueError("it is damaged")
        raise ValueError("a.json is damaged")

    return Target(behaviour, {"a.json": b'{"a": 1}'}, read, {})


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        *(("crash", "KeyError"), ("hang", "took over"), ("babble", "said 'a.json: one")),
        *(("namelessly", "it named no file: it is damaged"), ("well", "")),
    ],
)
def test_a_reader_that_fails_is_seen(
    behaviour: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzzed, "LONGEST", 0.05)
    done = fuzz(_reader(behaviour), tmp_path, range(3))
    assert len(done.problems) == (3 if said else 0)
    assert all(said in problem for problem in done.problems)
    assert done.refused == (0 if behaviour in ("crash", "hang") else 3)


# --- what fuzzing found, each as small as it gets


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "a: ["])
def test_yaml_nested_without_end(opening: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(opening * 20_000)
    begin = time.monotonic()
    with pytest.raises(ValueError, match=r"nested too deep|is not YAML") as raised:
        read_yaml(path)
    assert "\n" not in str(raised.value)
    assert time.monotonic() - begin < 5


def test_a_pickle_whose_names_hold_lines(tmp_path: Path) -> None:
    path = tmp_path / "refs.p"
    path.write_bytes(b"\x80\x04\x8c\x03a\nb\x8c\x04c\x0b\x1bd\x93.")
    with pytest.raises(ValueError, match=r"it names a b\.c d") as raised:
        read_plain_pickle(path)
    assert len(str(raised.value).splitlines()) == 1


def test_parquet_of_types_that_arrow_does_not_know(tmp_path: Path) -> None:
    path, unknown = tmp_path / "a.parquet", 0
    pq.write_table(pa.table({"key": pa.array([1], pa.uint32())}), path)
    content = path.read_bytes()
    for place in range(len(content) - 90, len(content) - 50):
        path.write_bytes(content[:place] + b"P" + content[place + 1 :])
        try:
            pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            unknown += not isinstance(error, ValueError | OSError)
        assert refused(lambda: record_keys(path), path) in ("", "it was taken")
        assert refused(lambda: open_collection(path), path) in ("", "it was taken")
    assert unknown


def test_a_manifest_that_names_what_no_disk_can_have(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    write_toy_shards(folder, shards=1, each=2)
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"name": "a-000000"', f'"name": "{"a" * 999}"'))
    collection = open_collection(folder)
    assert any("too long" in line or "name" in line for line in collection.troubles)


def test_a_member_more_in_the_empty_end_of_a_shard(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    write_toy_shards(folder, shards=1, each=2)
    path = folder / "a-000000.tar"
    size = path.stat().st_size
    with tarfile.open(path, "a", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("a-000099.pkl"))
    assert path.stat().st_size == size
    collection = open_collection(path)
    found = list(collection.samples(collection.pieces[0]))
    assert any(isinstance(one, Trouble) and "a-000099.pkl" in one.what for one in found)


@pytest.mark.parametrize("changed", [{"files": {}}, {"inputs": {"input": "b"}}, {"samples_in": 9}])
def test_a_commit_record_that_is_of_no_part(changed: dict[str, object], tmp_path: Path) -> None:
    target = _laid("a commit record", tmp_path / "here")
    [(name, content)] = target.files.items()
    (tmp_path / "here" / name).write_text(json.dumps({**json.loads(content), **changed}))
    target.read(tmp_path / "here")


# --- by coverage


def test_one_execution_damages_one_file_and_puts_it_back(tmp_path: Path) -> None:
    seen = []
    whole = {"a": b"A", "b": b"B"}
    target = Target("two", whole, lambda at: seen.append(bytes_of(at)), {})
    lay(whole, tmp_path)
    once = Once(target, tmp_path)
    for content in (b"", b"\x00x", b"\x01yz", b"\x02"):
        once(content)
    assert seen == [
        {"a": b"", "b": b"B"},
        {"a": b"x", "b": b"B"},
        {"a": b"A", "b": b"yz"},
        {"a": b"", "b": b"B"},
    ]
    assert bytes_of(tmp_path) == whole


def test_an_execution_may_refuse_in_one_line_alone(tmp_path: Path) -> None:
    def read(folder: Path) -> None:
        raise ValueError((folder / "a").read_text())

    once = Once(Target("one", {"a": b""}, read, {}), tmp_path)
    once(b"\x00in a, one line")
    with pytest.raises(RuntimeError, match="it said"):
        once(b"\x00a: one\ntwo")
    with pytest.raises(RuntimeError, match="it named no file"):
        once(b"\x00?")


def test_every_target_by_coverage_is_one(tmp_path: Path) -> None:
    assert {*fuzz_coverage.BY_COVERAGE} <= {target.name for target in targets(tmp_path)}


def test_without_atheris_none_is_fuzzed_by_coverage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz_coverage, "find_spec", lambda name: None)
    assert list(fuzz_coverage.by_coverage(Effort(tmp_path))) == []


@pytest.mark.slow
def test_a_target_is_fuzzed_by_coverage(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    covered = fuzz_coverage.covered("params.yaml", tmp_path / "a", 2)
    assert covered.problem == ""
    assert covered.executions > 1
