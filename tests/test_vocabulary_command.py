"""`opendet vocabulary`: names and the vectors of the build's own tower, from words and files."""

import json
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from clip_world import TINY, samples

from opendet.curate.clip import build_clip, open_clip_of
from opendet.model.vocabulary import read_vocabulary
from opendet.vocabulary_command import names_in, write_names
from tests.cli_world import COCO, make_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with a CLIP that learned a few steps."""
    clip = TINY.model_copy(update={"template": "big {name}"})
    root = make_project(tmp_path_factory.mktemp("words") / "project", COCO)
    folder = root / "datasets" / "tiny" / "clip"
    folder.mkdir()
    build_clip(samples(), clip, seed=0, folder=folder)
    return root


def test_names_are_those_of_the_build_s_tower(project: Path) -> None:
    with chdir(project):
        write_names("red cat, dog", Path("pets.safetensors"))
    made = read_vocabulary(project / "pets.safetensors")
    clip, _ = open_clip_of(project / "datasets" / "tiny" / "clip")
    assert made.names == ("red cat", "dog")
    assert (made.tower, made.template) == (clip.revision, "big {name}")
    wanted = clip.encode_texts(["big red cat", "big dog"])
    assert np.allclose(made.vectors.numpy(), wanted, atol=1e-6)


def test_a_folder_is_no_place_for_it(project: Path, tmp_path: Path) -> None:
    with chdir(project), pytest.raises(ValueError, match="is a folder: name the file"):
        write_names("cat", tmp_path)


def test_a_build_without_a_clip(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", COCO)
    with chdir(root), pytest.raises(ValueError, match="build the stage `clip` first"):
        write_names("cat", Path("out.safetensors"))
    assert not (root / "out.safetensors").exists()


def test_no_file_of_another_kind_is_replaced(project: Path) -> None:
    before = (project / "params.yaml").read_bytes()
    with chdir(project), pytest.raises(ValueError, match=r"params\.yaml does not end in \.safete"):
        write_names("cat,dog", Path("params.yaml"))
    assert (project / "params.yaml").read_bytes() == before


def test_lists_come_in_several_forms(tmp_path: Path) -> None:
    categories = [{"id": 2, "name": "dog"}, {"id": 1, "name": "traffic_light"}]
    (tmp_path / "coco.json").write_text(json.dumps({"categories": categories}))
    (tmp_path / "list.txt").write_text("cat\n# no name\nred star\n")
    assert names_in(str(tmp_path / "coco.json")) == ("traffic light", "dog")
    assert names_in(str(tmp_path / "list.txt")) == ("cat", "red star")
    base, novel, both = (names_in(f"ov_coco{group}") for group in ("_base", "_novel", ""))
    assert (len(base), len(novel)) == (48, 17)
    assert both == base + novel


def test_what_is_no_list_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "blank.json"
    path.write_text('["", "  "]')
    for given, said in ((str(path), "names nothing"), ("ov_coc", "take one of ov_coco, ov_coco_b")):
        with pytest.raises(ValueError, match=said) as raised:
            names_in(given)
        assert "\n" not in str(raised.value)
    path.write_text('["", "cat", "cat "]')
    assert names_in(str(path)) == ("cat",)
