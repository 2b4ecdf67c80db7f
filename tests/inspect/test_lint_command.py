"""`opendet data lint`: what it prints and the code that it ends with."""

import io
import json
import os
import subprocess
import sys
import threading
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer

from opendet.console import exit_code_of
from opendet.inspect.lint_command import lint_data
from tests.cli_world import Ended
from tests.inspect.test_lint import BERT, grounded, region, too_few


def run_lint(folder: Path, *arguments: str) -> Ended:
    """`opendet data lint ...` in a folder, in this process."""
    app, out, err = typer.Typer(), io.StringIO(), io.StringIO()
    app.command()(lint_data)
    with chdir(folder), redirect_stdout(out), redirect_stderr(err):
        try:
            code = exit_code_of(partial(app, args=list(arguments), prog_name="lint"))
        except SystemExit as end:
            code = int(end.code or 0)
    return Ended(code, out.getvalue(), err.getvalue())


def write(folder: Path, *lines: dict[str, Any]) -> str:
    (folder / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "a.jsonl"


def broken(number: int) -> dict[str, Any]:
    line = grounded(number)
    region(line)["bbox"] = [[30, 10, 20, 40]]
    return line


def rare(number: int) -> dict[str, Any]:
    line = grounded(number)
    too_few(line)
    return line


def test_clean_data_ends_with_0(tmp_path: Path) -> None:
    ended = run_lint(tmp_path, write(tmp_path, grounded(0), grounded(1)))
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "2 images looked at: 0 errors, 0 warnings\n"


def test_warnings_alone_end_with_0(tmp_path: Path) -> None:
    ended = run_lint(tmp_path, write(tmp_path, rare(0)))
    assert ended.code == 0
    assert "warning image.few_boxes" in ended.out
    assert "a.jsonl:1: it has 2" in ended.out


def test_an_error_ends_with_1_and_the_table_counts(tmp_path: Path) -> None:
    lines = [grounded(0), *(broken(number) for number in range(1, 6)), rare(6)]
    ended = run_lint(tmp_path, write(tmp_path, *lines))
    assert (ended.code, ended.err) == (1, "")
    said = ended.out.splitlines()
    assert said[0].startswith("error box.inverted: ")
    assert said[1].startswith("  a.jsonl:2, region 1, box 0: [30, 10, 20, 40] ends before")
    assert [line.split()[:3] for line in said if "line 2" in line] == [
        ["box.inverted", "error", "5"]
    ]
    assert "line 2, line 3, line 4" in ended.out
    assert "a.jsonl:5" not in ended.out, "three places are shown"
    assert said[-1] == "7 images looked at: 5 errors, 1 warnings"


def test_json(tmp_path: Path) -> None:
    name = write(tmp_path, broken(0), broken(1), rare(2))
    ended = run_lint(tmp_path, name, "--json", "--first", "1")
    assert ended.code == 1
    told = json.loads(ended.out)
    assert (told["images"], told["errors"], told["warnings"]) == (3, 2, 1)
    assert list(told["kinds"]) == ["box.inverted", "image.few_boxes"]
    inverted = told["kinds"]["box.inverted"]
    assert (inverted["severity"], inverted["count"]) == ("error", 2)
    [first] = inverted["first"]
    says = first.pop("says")
    assert first == {"file": "a.jsonl", "line": 1, "key": "", "part": "region 1, box 0"}
    assert says.endswith(".")


def test_tokens_and_vocabulary(tmp_path: Path, shared_data: Path) -> None:
    """The caption has 14 tokens, and 45 letters."""
    name = write(tmp_path, grounded())
    warned = run_lint(tmp_path, name, "--tokens", "20")
    assert warned.code == 0
    assert "tokens.span_at_risk" in warned.out
    counted = ("--vocabulary", str(shared_data / BERT))
    assert run_lint(tmp_path, name, "--tokens", "20", *counted).out.endswith("0 warnings\n")
    lost = run_lint(tmp_path, name, "--tokens", "12", *counted)
    assert lost.code == 1
    assert "tokens.span_lost" in lost.out


def test_what_is_in_the_data_steers_no_terminal(tmp_path: Path) -> None:
    line = grounded()
    region(line)["phrase"] = "[bold]\x1b[31m\u202eball"
    line["filename"] = "\x1b.jpg"
    ended = run_lint(tmp_path, write(tmp_path, line, line))
    assert ended.code == 1
    assert not set(ended.out) & set("\x1b\u202e")


@pytest.mark.parametrize(
    "arguments",
    [("gone.jsonl",), (".",), ("a.jsonl", "--build", "tiny"), ("a.jsonl", "--tokens", "2")],
)
def test_a_wrong_command_line_ends_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    write(tmp_path, grounded())
    assert run_lint(tmp_path, *arguments).code == 2


def test_what_cannot_be_looked_at_is_one_line_and_2(tmp_path: Path) -> None:
    name = write(tmp_path, grounded())
    ended = run_lint(tmp_path, name, "--vocabulary", name)
    assert ended.code == 2
    assert "a.jsonl is no WordPiece vocabulary" in ended.line
    ended = run_lint(tmp_path)
    assert ended.code == 2
    assert "no project here" in ended.line


COCO = {"info": {}, "images": [{"id": 1}], "annotations": []}
OTHERS: dict[str, tuple[bytes, str]] = {
    "README.md": (b"\n# Title\n\n[Text](of) it.\n", "its first line is no JSON, '# Title'"),
    "a.csv": (b"filename,x0\na.jpg,1\n", "its first line is no JSON, 'filename,x0'"),
    "coco.json": (json.dumps(COCO, indent=1).encode(), "one JSON object over several lines"),
    "line.json": (json.dumps(COCO).encode(), "not of one image (with info, images, annotations)"),
    "list.json": (b'[\n{"filename": "a"},\n{"filename": "b"}\n]', "one JSON list over several"),
    "spread.json": (b'{\n "filename": "a.jpg",\n "height": 3\n}\n', "over several lines"),
    "a.parquet": (b"PAR1\x15\x04\x15\x00rest", "it is binary"),
    "a.tar": (b"a.jpg" + b"\0" * 507, "it is binary"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_kind_is_one_line_and_2(tmp_path: Path, name: str) -> None:
    content, said = OTHERS[name]
    (tmp_path / name).write_bytes(content)
    ended = run_lint(tmp_path, name)
    assert (ended.code, ended.out) == (2, "")
    assert ended.line.startswith(f"{name} is no ODVG (one JSON object a line): ")
    assert said in ended.line


@pytest.mark.parametrize(
    "first",
    [
        b"{",
        b"[",
        b'{"filen',
        b'{"filename": "a.jpg", "hei',
        b"no JSON",
        b"\xef\xbb\xbf{}",
        b'{"a": "\xff"}',
        b"[1]",
        b"{} {}",
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_damaged_lines_are_still_looked_at(tmp_path: Path, first: bytes, alone: bool) -> None:
    """Alone in its file, only what begins as no JSON does is refused."""
    rest = b"" if alone else json.dumps(grounded()).encode()
    (tmp_path / "a.jsonl").write_bytes(first + b"\n" + rest + b"\n")
    ended = run_lint(tmp_path, "a.jsonl", "--json")
    if alone and first == b"no JSON":
        assert ended.code == 2
    else:
        assert ended.code == 1
        assert json.loads(ended.out)["errors"] >= 1


def test_lines_come_through_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = "".join(json.dumps(grounded(number)) + "\n" for number in range(300))
    writer = threading.Thread(target=pipe.write_text, args=(content,))
    writer.start()
    ended = run_lint(tmp_path, "pipe")
    writer.join()
    assert ended.out == "300 images looked at: 0 errors, 0 warnings\n"


def test_the_shards_of_a_build(finished: Path) -> None:
    ended = run_lint(finished, "--build", "tiny", "--json")
    assert (ended.code, ended.err) == (0, "")
    told = json.loads(ended.out)
    assert (told["images"], told["errors"]) == (6, 0)
    first = told["kinds"]["image.few_boxes"]["first"][0]
    assert (first["key"], first["line"]) == ("train-p0", None)
    said = run_lint(finished)
    assert "train-p0, train-p1, train-p2" in said.out


def test_a_damaged_shard_is_one_line_and_2(project: Path) -> None:
    shard = sorted((project / "datasets" / "tiny" / "shards").glob("*.tar"))[0]
    shard.write_bytes(shard.read_bytes()[:700])
    ended = run_lint(project)
    assert ended.code == 2
    assert shard.name in ended.line


def test_it_is_light_to_import() -> None:
    code = (
        "import sys, opendet.inspect.lint_command; "
        "print({'torch', 'pyarrow', 'tokenizers', 'rich.table'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
