"""Bad input, through the command line: one clear line or a counted reason, and no harm done."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from opendet.files import exclusive_lock
from tests.cli_world import (
    COCO,
    ROOT,
    SCENES,
    hashes,
    make_project,
    picture,
    run_cli,
    start_cli,
    stats_of,
    write_card,
    write_pictures,
)

INSTANCES = "pictures/instances.json"
CARD = "datasets/tiny/source.yaml"
CONFIG_FILE = "configs/tiny.yaml"


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("bad") / "project", COCO)
    write_pictures(project)
    assert run_cli(project, "data", "build", "--until", "caption").code == 0
    return project


@pytest.fixture
def built(_built: Path, tmp_path: Path) -> Path:
    """A project that is built as far as `caption`."""
    return Path(shutil.copytree(_built, tmp_path / "project", symlinks=True))


# --- what the user must mend


def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def mutate(project: Path) -> None:
        path = project / name
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(change(content))

    return mutate


def card(**changes: Any) -> Callable[[Path], None]:
    """The source card with a changed batch."""
    batch = {**COCO["batches"][0], **changes}
    return lambda project: write_card(project, {**COCO, "batches": [batch]})


def voc_list_in_latin_1(project: Path) -> None:
    (project / "pictures/list.txt").write_bytes("p1\nnaïve\n".encode("latin-1"))
    card(format="voc", annotations=".", list="list.txt")(project)


def two_images_with_one_id(content: bytes) -> bytes:
    world = json.loads(content)
    world["images"][1]["id"] = world["images"][0]["id"]
    return json.dumps(world).encode()


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing folder": (card(root="nowhere"), "no folder"),
    "unset variable": (card(root="${NO_SUCH_VARIABLE}/x"), "NO_SUCH_VARIABLE: set it"),
    "missing annotations": (card(annotations="none.json"), "none.json is missing"),
    "unknown format": (card(format="cocco"), "batches.0.format"),
    "unknown key of the card": (card(anotations="x"), "did you mean annotations?"),
    "outside the root": (card(annotations="../instances.json"), "leaves the batch's root"),
    "checksum": (card(checksums={"instances.json": "0" * 64}), "expects 000"),
    "twice the same batch": (
        lambda p: write_card(p, {**COCO, "batches": COCO["batches"] * 2}),
        "two batches are called train",
    ),
    "no batch": (lambda p: write_card(p, {**COCO, "batches": []}), "batches"),
    "broken JSON": (edit(INSTANCES, lambda c: c[:-40]), "instances.json: its root: Invalid JSON"),
    "another JSON": (edit(INSTANCES, lambda _: b"[1, 2]"), "instances.json"),
    "JSON not UTF-8": (edit(INSTANCES, lambda c: c.replace(b"dog", b"d\xf6g")), "instances.json"),
    "duplicate ids": (edit(INSTANCES, two_images_with_one_id), "an id of its own"),
    "list not UTF-8": (voc_list_in_latin_1, "list.txt is not UTF-8 at byte"),
    "card with a key twice": (
        edit(CARD, lambda c: c + b"\nname: other\n"),
        "source.yaml: the key name comes twice",
    ),
    "card not YAML": (edit(CARD, lambda c: c + b"\n: ]["), "source.yaml"),
    "card not UTF-8": (edit(CARD, lambda c: c + b"# \xff"), "source.yaml"),
    "card missing": (lambda p: (p / CARD).unlink(), "a build needs a source card"),
    "unknown config key": (
        edit(CONFIG_FILE, lambda c: c + b"\nembed: {devise: cpu}\n"),
        "embed.devise: no such key (did you mean device?)",
    ),
    "wrong config value": (
        edit(CONFIG_FILE, lambda c: c + b"\nembed: {batch: many}\n"),
        "embed.batch",
    ),
    "a template without a name": (
        edit(CONFIG_FILE, lambda c: c + b"\nevaluate: {template: a thing}\n"),
        "evaluate.template: String should match pattern",
    ),
    "no pixels": (
        edit(CONFIG_FILE, lambda c: c + b"\nloader: {shortest_edges: [0]}\n"),
        "loader.shortest_edges.0: Input should be greater than 0",
    ),
    "sides the wrong way round": (
        edit(CONFIG_FILE, lambda c: c + b"\nloader: {crop_sides: [60, 20]}\n"),
        "crop_sides (60, 20): write the smallest side first",
    ),
    "config with a section twice": (
        edit(CONFIG_FILE, lambda c: b"embed: {}\n" + c + b"\nembed: {batch: 4}\n"),
        "tiny.yaml: the key embed comes twice, in lines 1 and",
    ),
    "config not YAML": (edit(CONFIG_FILE, lambda c: c + b"\n: ]["), "tiny.yaml"),
    "config not UTF-8": (edit(CONFIG_FILE, lambda c: c + b"# \xff"), "tiny.yaml"),
    "config missing": (lambda p: (p / CONFIG_FILE).unlink(), "tiny.yaml is missing"),
    "params with a build twice": (
        edit("params.yaml", lambda c: c + b"build: other\n"),
        "params.yaml: the key build comes twice",
    ),
    "params not YAML": (edit("params.yaml", lambda _: b"build: ]["), "params.yaml"),
    "params not UTF-8": (edit("params.yaml", lambda _: b"build: \xff"), "params.yaml"),
    "params without a build": (edit("params.yaml", lambda _: b"[]"), "params.yaml"),
}


@pytest.mark.parametrize(("mistake", "said"), MISTAKES.values(), ids=MISTAKES)
def test_one_clear_line_and_no_harm(
    built: Path, mistake: Callable[[Path], object], said: str
) -> None:
    made = [built / f"datasets/tiny/{stage}" for stage in ("source", "caption")]
    before = hashes(*made, built / ".opendet")
    mistake(built)
    ended = run_cli(built, "data", "build", "source", "caption")
    assert ended.code == 1
    assert said in ended.line
    assert hashes(*made, built / ".opendet") == before


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-20], lambda c: c[:400] + bytes([c[400] ^ 1]) + c[401:]]
)
def test_a_damaged_part_stops_the_next_stage(built: Path, damage: Callable[[bytes], bytes]) -> None:
    part = built / "datasets/tiny/caption/train-000000.parquet"
    edit("datasets/tiny/caption/train-000000.parquet", damage)(built)
    ended = run_cli(built, "data", "build", "regions")
    assert ended.code == 1
    assert part.name in ended.line
    assert "is damaged: its sha256" in ended.line
    assert not (built / "datasets/tiny/regions").exists()
    assert "train-000000.parquet is damaged" in run_cli(built, "data", "verify").err


def test_a_second_build_of_the_same_folder(built: Path) -> None:
    before = hashes(built / "datasets", built / ".opendet")
    with exclusive_lock(built / ".opendet/tiny/lock", what="x"):
        ended = run_cli(built, "data", "build")
    assert ended.code == 1
    assert f"the build tiny is being built by process {os.getpid()}: wait" in ended.line
    assert hashes(built / "datasets", built / ".opendet") == before
    assert run_cli(built, "data", "build", "caption").code == 0, "the lock is let go"


# --- a full disk


def limited(size: int) -> str:
    """Python that makes every write beyond `size` bytes of a file fail, as a quota does."""
    return f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"


def test_a_write_that_fails_harms_nothing(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", SCENES)
    assert run_cli(project, "data", "build", "--until", "caption").code == 0
    made = [project / f"datasets/tiny/{stage}" for stage in ("source", "caption")]
    before = hashes(*made, project / ".opendet")
    more = {"name": "more", "split": "train", "count": 60}
    write_card(project, {**SCENES, "batches": [*SCENES["batches"], more]})
    program = start_cli(project, "data", "build", "source", "caption", first=limited(100_000))
    _, said = program.communicate(timeout=120)
    assert program.returncode == 1, said
    assert "File too large" in said.splitlines()[-1]
    assert "Traceback" not in said
    now = hashes(*made, project / ".opendet")
    new = {name for name in now if name not in before}
    assert all("/listings/more-" in name for name in new), "what is to be done is listed, no more"
    assert {name: now[name] for name in before} == before
    assert run_cli(project, "data", "verify").code == 0
    # With room again the next run goes on, and what was there is not made anew.
    assert run_cli(project, "data", "build", "source", "caption").code == 0
    after = hashes(*made)
    kept = {name for name in before if "manifest.json" not in name and "/.opendet/" not in name}
    assert kept
    assert all(after[name] == before[name] for name in kept)
    assert stats_of(project)["caption"]["samples_out"] == 69


def test_a_disk_without_room(tmp_path: Path) -> None:
    """A file system of 300 kB, where this machine lets an ordinary user mount one."""
    small = tmp_path / "small"
    small.mkdir()
    mount = [
        "unshare",
        "-Urm",
        "sh",
        "-c",
        'mount -t tmpfs -o size=300k none "$0" && cd "$0" && "$@"',
    ]
    if not shutil.which("unshare") or subprocess.run([*mount, small, "true"]).returncode:
        pytest.skip("no private mounts here")
    batches = [{"name": "train", "split": "train", "count": 200}]
    project = make_project(tmp_path / "project", {**SCENES, "batches": batches})
    script = 'cp -a "$1" . && cd project && exec "$2" -m opendet.cli data build source'
    ended = subprocess.run(
        [*mount, small, "sh", "-c", script, "sh", project, sys.executable],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 1, ended.stderr
    assert "No space left on device" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


# --- what is counted


def test_bad_images_are_counted_and_the_others_kept(tmp_path: Path) -> None:
    project = make_project(
        tmp_path / "project",
        {**COCO, "format": "folder", "batches": [{"name": "b", "split": "train"}]},
        {"source": {"max_pixels": 1_000_000}},
    )
    folder = project / "pictures"
    folder.mkdir()
    files = {
        "good.jpg": picture(1),
        "really_a_png.jpg": picture(2, kind="PNG"),
        "good.png": picture(3, kind="PNG"),  # the key of good.jpg
        "copy.jpg": picture(1),
        "truncated.jpg": picture(4)[:-300],
        "renamed.jpg": b"GIF89a" + bytes(40),
        "text.jpg": b"no image at all",
        "empty.jpg": b"",
        "tiny.png": picture(5, (4, 4), "PNG"),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    (folder / os.fsdecode(b"na\xefve.jpg")).write_bytes(picture(6))
    ended = run_cli(project, "data", "build", "source")
    assert (ended.code, ended.err) == (0, "")
    source = stats_of(project)["source"]
    assert source["dropped"] == {
        "format not allowed": 2,
        "duplicate key": 1,
        "exact duplicate": 1,
        "truncated image": 1,
        "empty file": 1,
        "image too small": 1,
        "too many pixels": 1,
        "unusable file name": 1,
    }
    assert source["samples_in"] == len(files) + 2
    assert source["samples_out"] + sum(source["dropped"].values()) == source["samples_in"]
    assert run_cli(project, "data", "verify").code == 0
    assert (
        run_cli(project, "data", "why", "b-bomb").out.split("dropped: ")[1].startswith("too many")
    )


def test_bad_boxes_and_captions_are_counted(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", COCO)
    write_pictures(project, 2)
    path = project / INSTANCES
    world = json.loads(path.read_text())
    boxes = {
        "box.not finite": [float("nan"), 0, 5, 5],
        "box.inverted": [20, 20, -10, 5],
        "box.outside": [500, 500, 10, 10],
        "box.degenerate": [5, 5, 0, 10],
        "box.clipped": [-5, -5, 30, 30],
    }
    world["annotations"] += [{"image_id": 0, "category_id": 0, "bbox": b} for b in boxes.values()]
    world["images"].append({"id": 9, "file_name": "gone.jpg", "width": 64, "height": 48})
    world["images"].append({"id": 10, "file_name": "p1.jpg", "width": 64, "height": 48})
    world["categories"][1]["name"] = " \x07 "
    path.write_text(json.dumps(world))
    captions = [{"image_id": 0, "caption": text} for text in ("", " \x00 ", "A cat.")]
    (project / "pictures/captions.json").write_text(json.dumps({"annotations": captions}))
    card(captions="captions.json")(project)
    ended = run_cli(project, "data", "build", "--until", "describe")
    assert (ended.code, ended.err) == (0, "")
    source = stats_of(project)["source"]
    assert source["counted"] == {**dict.fromkeys(boxes, 1), "caption.empty": 2, "label.empty": 2}
    assert source["dropped"] == {"missing file": 1, "duplicate key": 1}
    assert (source["samples_in"], source["samples_out"]) == (4, 2)
    assert run_cli(project, "data", "verify").code == 0
