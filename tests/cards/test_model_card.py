"""A model's card tells what its folder and its build say, and of no other weights."""

import json
import re
import shlex
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import ModelCard
from typer.main import get_command

from opendet.cards.model_about import about_model
from opendet.cards.model_card import model_card_text
from opendet.cli import app
from opendet.detections import Detections
from opendet.manifest import FileStamp, Manifest, PartCommit, write_manifest
from opendet.open_det import OpenDet
from opendet.shard_run import WHOLE
from opendet.train.export import WEIGHTS
from tests.cards.test_card_page import MARKDOWN, cells_of
from tests.model.naming_worlds import CONCEPTS, export_named

EVALUATED: dict[str, Any] = {
    "images": 2,
    "objects": 7,
    "protocol": "own",
    "agnostic_ap": 0.5,
    "named_ap": {"all": 0.25},
    "named_ap50": {"all": 0.375, "trained": 0.5, "unseen": 0.125},
    "names": {"exact": 1},
}


def evaluate(build: Path, model: Path, sha256: str = "") -> None:
    """What the stage `evaluate` leaves of weights that hash so."""
    folder = build / "evaluate"
    folder.mkdir(exist_ok=True)
    keys = pa.table({"key": ["val-000000", "val-000001"]})
    pq.write_table(keys, folder / "predictions.parquet")
    judged = {f"train/model/{WEIGHTS}": sha256 or FileStamp.of(model / WEIGHTS).sha256}
    commit = PartCommit(WHOLE, 1, 1, (), (), {}, {}, judged)
    write_manifest(folder, Manifest("evaluate", "f", (commit,)))
    (build / "metrics" / "evaluate.json").write_text(json.dumps({"evaluate": EVALUATED}))


@pytest.fixture
def model(project: Path) -> Path:
    """In the small build, as the stage `train` leaves it."""
    build = project / "datasets" / "tiny"
    (build / "train").mkdir()
    told = {"train": {"steps": 3, "images": 12, "seconds": 4.5}}
    (build / "metrics" / "train.json").write_text(json.dumps(told))
    return export_named(build / "train" / "model", clip="abc {name}")


def test_a_model_alone_says_that_it_knows_nothing_of_its_data(tmp_path: Path) -> None:
    text = model_card_text(export_named(tmp_path / "mine"))
    assert "Nothing is known of these weights: no evaluation lies with them." in text
    assert "Not known: the folder lies in no build." in text
    assert "It finds the objects in a picture without being asked for any, and writes" in text
    assert f"knows {len(set(CONCEPTS))} names by prototypes" in text
    told = ModelCard(text).data.to_dict()
    assert told["license"] == "unknown"
    assert told["pipeline_tag"] == "object-detection"
    assert told["library_name"] == "open-det"


def test_a_model_that_writes_no_names_does_not_say_so(tmp_path: Path) -> None:
    text = model_card_text(export_named(tmp_path / "mine", t5=False, prototypes=False))
    assert "calls them by the names of a list that it is given" in text
    assert "language model" not in text


def test_parameters_are_counted_from_the_file(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = export_named(tmp_path / "mine")
    total = sum(one.numel() for one in load_file(folder / WEIGHTS).values())
    assert about_model(folder).parameters == total


def test_a_build_tells_what_it_trained_on_and_measured(model: Path) -> None:
    evaluate(model.parents[1], model)
    text = model_card_text(model)
    assert "On the split val of the build `tiny`: 2 images, 7 objects, protocol `own`." in text
    assert "has AP50 0.125, of those that it shows 0.500." in text
    assert "3 steps that showed 12 images took 4 seconds." in text
    cells = cells_of(text.split("---\n", 2)[2])
    assert cells[cells.index("Attribution-NonCommercial License") + 1] == "3"
    [result] = ModelCard(text).data.to_dict()["model-index"]
    dataset = result["results"][0]["dataset"]
    assert (dataset["name"], dataset["split"]) == ("tiny", "val")
    values = {one["type"]: one["value"] for one in result["results"][0]["metrics"]}
    assert values == {
        "agnostic_ap": 0.5,
        "named_ap.all": 0.25,
        "named_ap50.all": 0.375,
        "named_ap50.trained": 0.5,
        "named_ap50.unseen": 0.125,
        "names.exact": 1.0,
    }


def test_numbers_of_other_weights_are_not_told(model: Path) -> None:
    evaluate(model.parents[1], model, sha256="0" * 64)
    text = model_card_text(model)
    assert "no evaluation lies with them" in text
    assert "model-index" not in text


def test_the_title_of_the_data_is_no_markup(model: Path) -> None:
    page = MARKDOWN.render(model_card_text(model).split("---\n", 2)[2])
    assert "Pictures | of &lt;b&gt;noise&lt;/b&gt;." in page


def test_the_same_folder_gives_the_same_text(model: Path) -> None:
    evaluate(model.parents[1], model)
    assert model_card_text(model) == model_card_text(model)


def test_a_card_travels_with_its_weights(model: Path, tmp_path: Path) -> None:
    evaluate(model.parents[1], model)
    text = model_card_text(model)
    shutil.copytree(model, tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_text(text)
    assert model_card_text(tmp_path / "copy") == text
    other = export_named(tmp_path / "other", prototypes=False)
    (other / "README.md").write_text(text)
    assert "Nothing is known of these weights" in model_card_text(other)
    (tmp_path / "copy" / "README.md").write_text("# A page of somebody else\n")
    assert "Nothing is known of these weights" in model_card_text(tmp_path / "copy")


@pytest.mark.parametrize(
    ("licence", "told"),
    [
        ("apache-2.0", {"license": "apache-2.0"}),
        ("mine: all", {"license": "other", "license_name": "mine: all"}),
    ],
)
def test_an_owner_chooses_the_licence(tmp_path: Path, licence: str, told: dict[str, str]) -> None:
    text = model_card_text(export_named(tmp_path / "mine"), licence=licence)
    header = ModelCard(text).data.to_dict()
    assert {key: header[key] for key in told} == told
    assert f"Its owner has chosen {licence}" in text.replace("[", "").replace("]", "")


def test_a_licence_that_was_chosen_stays_when_the_numbers_are_told_anew(model: Path) -> None:
    (model / "README.md").write_text(model_card_text(model, licence="MIT"))
    evaluate(model.parents[1], model)
    text = model_card_text(model)
    assert "license: mit\n" in text
    assert "On the split val of the build" in text
    (model / "README.md").write_text(model_card_text(model, licence="my terms"))
    assert "license_name: my terms\n" in model_card_text(model)


def retold(folder: Path, **changes: Any) -> Path:
    """The model's config.json, changed."""
    path = folder / "config.json"
    card = json.loads(path.read_text())
    for key, value in changes.items():
        card[key] = {**card[key], **value}
    path.write_text(json.dumps(card))
    return folder


def test_what_others_made_is_told_with_its_licence(tmp_path: Path) -> None:
    folder = export_named(tmp_path / "mine")
    backbone = {"name": "swin_tiny_patch4_window7_224", "pretrained": True}
    retold(folder, detector={"backbone": backbone})
    namer = folder / "namer" / "namer.json"
    namer.write_text(json.dumps({**json.loads(namer.read_text()), "t5": "google/flan-t5-base"}))
    text = model_card_text(folder)
    header = ModelCard(text).data.to_dict()
    assert header["base_model"] == [
        "timm/swin_tiny_patch4_window7_224.ms_in1k",
        "google/flan-t5-base",
    ]
    cells = cells_of(text.split("---\n", 2)[2])
    place = cells.index("google/flan-t5-base")
    assert "Apache-2.0</a>, says https://huggingface.co/google/flan-t5-base" in cells[place + 1]
    assert "mit</a>, says timm" in cells[cells.index("swin_tiny_patch4_window7_224") + 1]


def test_a_t5_of_a_folder_is_no_model_of_the_hub(tmp_path: Path) -> None:
    folder, t5 = export_named(tmp_path / "mine"), tmp_path / "my-t5"
    t5.mkdir()
    (t5 / "README.md").write_text("---\nlicense: mit\n---\n")
    namer = folder / "namer" / "namer.json"
    namer.write_text(json.dumps({**json.loads(namer.read_text()), "t5": str(t5)}))
    text = model_card_text(folder)
    assert "| namer | my-t5 | [mit](https://spdx.org/licenses/MIT.html), says the model's" in text
    assert "base_model" not in text


def test_what_is_unknown_is_said_to_be_unknown(tmp_path: Path) -> None:
    folder = export_named(tmp_path / "mine", clip="abc123 {name}")
    namer = folder / "namer" / "namer.json"
    namer.write_text(json.dumps({**json.loads(namer.read_text()), "t5": "some/where/my-t5"}))
    text = model_card_text(folder)
    assert "| namer | my-t5 | **unknown** |" in text
    assert "| teacher | a CLIP of revision abc123 | **unknown** |" in text
    assert "- The licence of my-t5 is unknown here." in text


def test_no_path_and_no_secret_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret123")
    folder = export_named(tmp_path / "mine")
    weights = {"text.tower": "/srv/somebody/private/tower", "train.steps": 3}
    text = model_card_text(retold(folder, training=weights))
    assert "somebody" not in text
    assert '| `text.tower` | `"…/tower"` |' in text
    assert "| `train.steps` | `3` |" in text
    assert "hf_secret123" not in text
    assert str(tmp_path) not in text


def test_a_damaged_metric_is_one_line(model: Path) -> None:
    (model.parents[1] / "metrics" / "train.json").write_text("{")
    with pytest.raises(ValueError, match=r"train\.json is damaged"):
        model_card_text(model)


def test_before_the_filter_is_built_the_source_card_tells_the_licence(model: Path) -> None:
    shutil.rmtree(model.parents[1] / "filter")
    build = about_model(model).build
    assert build is not None
    assert build.licences == (("MIT", 0),)
    assert asdict(build)["evaluated"] == {}


def test_what_the_card_says_to_type_can_be_typed(tmp_path: Path) -> None:
    text = model_card_text(export_named(tmp_path / "mine"))
    python, shell = re.findall(r"```(?:python|bash)\n(.*?)```", text, re.DOTALL)
    compile(python, "card", "exec")
    assert hasattr(OpenDet, "from_pretrained")
    assert hasattr(Detections, "to_supervision")
    for line in shell.splitlines():
        program, *words = shlex.split(line)
        assert program == "opendet"
        command = get_command(app)
        while subcommands := getattr(command, "commands", None):
            command = subcommands[words.pop(0)]
        command.make_context("opendet", words)  # raises for an option that there is not
