"""The work folder: a part is whole or is not there, and counts once its commit record is there."""

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from opendet import work as works
from opendet.files import canonical_json
from opendet.manifest import FileStamp, Manifest, PartCommit, ShardName, commit_text, read_manifest
from opendet.stage import Task
from opendet.work import WorkFolder, link_or_copy, replace_folder

SHARD = ShardName("b-000000", "b", "train")
TASK = Task(SHARD, {"input": "1"})
FILES = {"b-000000.tar": b"pictures", "b-000000.idx": b"places", "deep/er": b"x", "a/b/c": b"y"}


def writer(files: Mapping[str, bytes]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    return write


def there(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def committed(
    work: WorkFolder, files: Mapping[str, bytes] = FILES, task: Task = TASK
) -> PartCommit:
    """A part that is made and committed, all within the past."""
    stamps = work.write_part(task.shard.name, writer(files))
    for name in stamps:
        os.utime(part_of(work, stamps, task.shard) / name, ns=(1000, 1000))
    commit = PartCommit(task.shard, 1, 1, (), (), {}, stamps, task.inputs)
    work.commit(commit)
    return commit


def part_of(work: WorkFolder, stamps: dict[str, FileStamp], shard: ShardName = SHARD) -> Path:
    return work.part_folder(shard.name, stamps)


@pytest.fixture
def work(tmp_path: Path) -> WorkFolder:
    return WorkFolder(tmp_path / "work")


def test_a_part_holds_what_was_written_and_its_stamps_say_so(work: WorkFolder) -> None:
    stamps = work.write_part("b-000000", writer(FILES))
    part = part_of(work, stamps)
    assert there(part) == FILES
    assert stamps == {name: FileStamp.of(part / name) for name in FILES}
    assert list((work.root / "attempts").iterdir()) == []
    assert list((work.root / "parts").iterdir()) == [part]


def test_a_part_is_named_by_its_content_alone(work: WorkFolder) -> None:
    stamps = {"b": FileStamp(2, "22"), "a": FileStamp(1, "11")}
    name = work.part_folder("s", stamps)
    # What earlier runs made must be found again: sha256 of "a 11\nb 22".
    assert name == work.root / "parts" / "s-8cec0b9d9c5360cf"
    assert work.part_folder("s", dict(reversed(stamps.items()))) == name
    others = [stamps | {"b": FileStamp(2, "23")}, {"b": stamps["b"]}, stamps | {"c": stamps["a"]}]
    assert len({name, *(work.part_folder("s", other) for other in others)}) == 4


def test_equal_content_is_one_part_and_other_content_another(work: WorkFolder) -> None:
    first = part_of(work, work.write_part("b-000000", writer(FILES)))
    inode = first.stat().st_ino
    assert part_of(work, work.write_part("b-000000", writer(FILES))) == first
    assert first.stat().st_ino == inode, "a part that is there is never changed"
    other = part_of(work, work.write_part("b-000000", writer({**FILES, "deep/er": b"y"})))
    assert sorted((work.root / "parts").iterdir()) == sorted([first, other])
    assert there(first) == FILES


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_a_part_that_was_damaged_is_made_anew(work: WorkFolder, name: str, damage: str) -> None:
    part = part_of(work, work.write_part("b-000000", writer(FILES)))
    if damage == "gone":
        (part / name).unlink()
    else:
        (part / name).write_bytes(FILES[name].swapcase())
    work.write_part("b-000000", writer(FILES))
    assert there(part) == FILES


def test_a_writer_that_fails_leaves_nothing(work: WorkFolder) -> None:
    def failing(folder: Path) -> None:
        writer(FILES)(folder)
        raise OSError(errno.ENOSPC, "no room")

    with pytest.raises(OSError, match="no room"):
        work.write_part("b-000000", failing)
    assert there(work.root) == {}
    assert not (work.root / "parts").exists()


def test_a_rename_that_fails_is_told_unless_another_put_the_part_there(
    work: WorkFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def refused(path: Path, target: Path) -> Path:
        raise OSError(errno.EIO, "no disk")

    def too_late(path: Path, target: Path) -> Path:
        writer(FILES)(target)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(OSError, match="no disk"):
        work.write_part("b-000000", writer(FILES))
    monkeypatch.setattr(Path, "rename", too_late)
    assert there(part_of(work, work.write_part("b-000000", writer(FILES)))) == FILES
    assert list((work.root / "attempts").iterdir()) == []


def test_a_part_is_on_the_disk_before_it_has_its_name(
    work: WorkFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, begun = list[Path](), list[Path]()
    monkeypatch.setattr(works, "fsync_path", synced.append)
    monkeypatch.setattr(works, "begin_writeback", begun.append)
    part = part_of(work, work.write_part("b-000000", writer(FILES)))
    [attempt] = {path for path in synced if path.parent == work.root / "attempts"}
    assert attempt.name.startswith("b-000000-")
    inside = {attempt / name for name in (*FILES, "deep", "a", "a/b")}
    assert set(synced[:-1]) == inside | {attempt}
    assert synced[-1] == part.parent
    assert set(begun) == {attempt / name for name in FILES}, "so that it has less to wait for"


def test_two_attempts_at_a_shard_do_not_meet(work: WorkFolder) -> None:
    def twice(folder: Path) -> None:
        work.write_part("b-000000", writer(FILES))
        writer(FILES)(folder)

    work.write_part("b-000000", twice)
    assert len(list((work.root / "parts").iterdir())) == 1


def test_a_commit_record_makes_a_part_count(work: WorkFolder) -> None:
    assert work.committed(TASK) is None
    stamps = work.write_part(SHARD.name, writer(FILES))
    assert work.committed(TASK) is None
    commit = PartCommit(SHARD, 1, 1, (), (), {"n": 1}, stamps, TASK.inputs)
    work.commit(commit)
    assert work.committed(TASK) == commit
    [record] = (work.root / "commits").iterdir()
    # Found again by every later run: sha256 of the JSON of its inputs.
    assert record.name == "b-000000-b6f71b523de5acd9.json"
    assert record.read_text() == commit_text(commit)


def test_a_part_of_other_inputs_or_of_another_split_does_not_count(work: WorkFolder) -> None:
    first = committed(work)
    later = replace(TASK, inputs={"input": "2"})
    assert work.committed(later) is None
    second = committed(work, {**FILES, "deep/er": b"2"}, later)
    assert (work.committed(TASK), work.committed(later)) == (first, second)
    assert work.committed(replace(TASK, shard=replace(SHARD, split="val"))) is None


def test_a_record_that_lies_under_the_name_of_another_is_never_taken(work: WorkFolder) -> None:
    commit = committed(work)
    [path] = (work.root / "commits").iterdir()
    path.write_text(commit_text(replace(commit, inputs={"input": "2"})))
    assert work.committed(TASK) is None
    work.commit(commit)
    assert work.committed(TASK) == commit


@pytest.mark.parametrize("name", FILES)
def test_a_part_whose_file_was_touched_since_is_hashed(work: WorkFolder, name: str) -> None:
    commit = committed(work)
    path = part_of(work, commit.files) / name
    [record] = (work.root / "commits").iterdir()
    written = record.stat().st_mtime_ns
    path.write_bytes(FILES[name].swapcase())
    os.utime(path, ns=(written + 1, written + 1))
    assert work.committed(TASK) is None
    path.write_bytes(FILES[name])
    os.utime(path, ns=(written + 1, written + 1))
    assert work.committed(TASK) == commit


def test_an_older_file_is_taken_by_its_size(
    work: WorkFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = committed(work)
    path = part_of(work, commit.files) / "deep/er"
    [record] = (work.root / "commits").iterdir()
    os.utime(path, ns=(0, record.stat().st_mtime_ns))
    with monkeypatch.context() as patched:
        patched.setattr(FileStamp, "of", None)  # nothing is hashed
        assert work.committed(TASK) == commit
    path.write_bytes(b"xx")
    os.utime(path, ns=(0, 0))
    assert work.committed(TASK) is None
    path.unlink()
    assert work.committed(TASK) is None
    path.mkdir()
    assert work.committed(TASK) is None


def assert_nothing_is_left(work: WorkFolder) -> None:
    assert {path.name for path in work.root.iterdir()} <= {"attempts", "commits", "parts"}
    assert there(work.root / "attempts") == {}


def manifest_of(*commits: PartCommit) -> Manifest:
    return Manifest("shards", "f", commits)


def test_what_is_published_is_the_parts_their_records_and_the_manifest(
    work: WorkFolder, tmp_path: Path
) -> None:
    commit, target = committed(work), tmp_path / "deep" / "out"
    manifest = manifest_of(commit)
    added: list[tuple[dict[str, bytes], Manifest]] = []

    def add(folder: Path, told: Manifest) -> None:
        added.append((there(folder), told))
        (folder / "index.json").write_text("{}")

    work.publish(target, manifest, add)
    before = {**FILES, "b-000000.json": commit_text(commit).encode()}
    assert added == [(before, manifest)]
    assert read_manifest(target) == manifest
    told = (target / "manifest.json").read_bytes()
    assert there(target) == {**before, "index.json": b"{}", "manifest.json": told}
    for name in FILES:
        assert (target / name).samefile(part_of(work, commit.files) / name), "a hard link"
    assert_nothing_is_left(work)


def test_a_stage_without_parts_is_published_too(work: WorkFolder, tmp_path: Path) -> None:
    nothing = Manifest("s", "f0", ())
    work.publish(tmp_path / "out", nothing)
    assert read_manifest(tmp_path / "out") == nothing


def test_a_published_folder_gives_way_to_the_next(work: WorkFolder, tmp_path: Path) -> None:
    target = tmp_path / "out"
    work.publish(target, manifest_of(committed(work)))
    (target / "rubbish").write_text("")
    newer = committed(work, {"b-000000.tar": b"new"}, replace(TASK, inputs={"input": "2"}))
    work.publish(target, manifest_of(newer))
    assert set(there(target)) == {"b-000000.tar", "b-000000.json", "manifest.json"}
    assert_nothing_is_left(work)


def test_a_publication_that_fails_leaves_the_one_before(work: WorkFolder, tmp_path: Path) -> None:
    def failing(folder: Path, _: Manifest) -> None:
        raise OSError(errno.ENOSPC, "no room")

    manifest = manifest_of(committed(work))
    work.publish(tmp_path / "out", manifest)
    before = there(tmp_path)
    with pytest.raises(OSError, match="no room") as raised:
        work.publish(tmp_path / "out", manifest, failing)
    assert Path(raised.value.filename).parent == work.root
    assert there(tmp_path) == before
    assert_nothing_is_left(work)


def test_a_part_that_a_retry_replaced_is_removed_and_others_are_kept(
    work: WorkFolder, tmp_path: Path
) -> None:
    older = committed(work, {"old": b""}, replace(TASK, inputs={"input": "0"}))
    replaced = committed(work)
    other = committed(work, FILES, Task(ShardName("b-000001", "b", "val")))
    better = committed(work, {**FILES, "deep/er": b"better"})
    assert len(list((work.root / "parts").iterdir())) == 4
    work.publish(tmp_path / "out", manifest_of(better))
    kept = {part_of(work, one.files, one.shard) for one in (older, other, better)}
    assert set((work.root / "parts").iterdir()) == kept
    assert part_of(work, replaced.files) not in kept


def test_records_of_what_is_published_are_not_read_again(
    work: WorkFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be a hundred thousand of them."""
    tasks = [Task(ShardName(f"b-00000{n}", "b", "train"), {"input": f"{n // 2}"}) for n in range(4)]
    parts = [committed(work, FILES, task) for task in tasks]
    monkeypatch.setattr(works, "read_commit", None)
    work.publish(tmp_path / "out", manifest_of(*parts))
    assert len(list((work.root / "parts").iterdir())) == 4


def test_a_damaged_record_stops_nobody(
    work: WorkFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of other inputs it is in nobody's way; of these the part is made again."""
    older = replace(TASK, inputs={"input": "0"})
    committed(work, {"old": b""}, older)
    (damaged,) = (work.root / "commits").iterdir()
    damaged.write_bytes(b"")
    current = committed(work)
    work.publish(tmp_path / "out", manifest_of(current))
    assert work.committed(TASK) == current
    caplog.clear()
    assert work.committed(older) is None
    (said,) = caplog.messages
    assert str(damaged) in said
    assert committed(work, {"old": b""}, older) == work.committed(older)


def test_what_attempts_left_is_swept_and_nothing_else(work: WorkFolder) -> None:
    work.sweep()  # of a folder that is not there
    commit = committed(work)
    before = there(work.root)
    for leftover in ("attempts/b-000000-1", "publish-1", "publish-2"):
        writer({"x": b"x"})(work.root / leftover)
    (work.root / "commits" / ".b-000000-1.json.half").write_bytes(b"{")
    work.sweep()
    assert there(work.root) == before
    assert work.committed(TASK) == commit
    assert sorted(path.name for path in work.root.iterdir()) == ["commits", "parts"]


def test_what_somebody_else_has_swept_meanwhile_is_swept(
    work: WorkFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(work)
    monkeypatch.setattr(Path, "glob", lambda path, pattern: [path / pattern.replace("*", "gone")])
    work.sweep()


def test_where_there_are_no_hard_links_a_file_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    (tmp_path / "a").write_bytes(b"a")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").samefile(tmp_path / "a")
    monkeypatch.setattr(os, "link", refused)
    synced: list[tuple[str, bytes]] = []
    monkeypatch.setattr(works, "fsync_path", lambda it: synced.append((it.name, it.read_bytes())))
    link_or_copy(tmp_path / "a", tmp_path / "c")
    assert synced == [(".c.copying", b"a")], "it has its name once it is on the disk"
    assert (tmp_path / "c").read_bytes() == b"a"
    assert not (tmp_path / "c").samefile(tmp_path / "a")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c"}


def test_a_folder_comes_to_its_place_and_the_one_before_to_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(works, "fsync_path", synced.append)
    new, target = tmp_path / "new", tmp_path / "deep" / "down" / "out"
    for content in (b"1", b"2"):
        writer({"x": content})(new)
        replace_folder(new, target)
        assert there(target) == {"x": content}
        assert there(new) == ({} if content == b"1" else {"x": b"1"})
        assert synced.pop() == target.parent
        assert not synced


def test_inputs_are_told_apart_by_their_canonical_text(work: WorkFolder) -> None:
    inputs = {"b": "1", "a": "2"}
    commit = committed(work, FILES, replace(TASK, inputs=inputs))
    turned = Task(SHARD, dict(reversed(inputs.items())))
    assert work.committed(turned) == commit
    assert canonical_json(inputs) == canonical_json(turned.inputs)
