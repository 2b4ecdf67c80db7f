"""The command `opendet detect`. Light to import: what is heavy is imported when it is run."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opendet.console import FAILED, say_wrong

if TYPE_CHECKING:
    from opendet.predict_config import PredictConfig
    from opendet.predict_files import Seen
    from opendet.predict_masks import Asked
    from opendet.vl_sam.method import VlSam

AT_ONCE = 8
"""Images in memory together."""
MIN_SCORE = 0.3
"""Of what our detector shows."""
OPEN_DET, VL_SAM = METHODS = ("open-det", "vl-sam")


def detect_images(
    images: Annotated[list[Path], typer.Argument(help="Image files: JPEG, PNG or WebP.")],
    model: Annotated[
        Path | None,
        typer.Option(help="A model's folder, else the build's; of vl-sam its configuration."),
    ] = None,
    build: Annotated[
        str,
        typer.Option("--build", help="A name of configs/; else the one that params.yaml chooses."),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(help="Where drawings go; else detections/, and with --json nowhere."),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Least belief that there is an object; else 0.3, or as vl-sam's file says.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    masks: Annotated[
        str, typer.Option(help="Draw masks too: a folder or hub name of SAM, SAM 2 or SAM 3.")
    ] = "",
    method: Annotated[
        str, typer.Option(help="open-det, or vl-sam, which needs no training and brings masks.")
    ] = OPEN_DET,
    maps: Annotated[
        Path | None, typer.Option(help="A folder for vl-sam's attention maps, as pictures.")
    ] = None,
    namer: Annotated[
        str, typer.Option(help="Who names: t5, prototypes, vocabulary or cascade; else auto.")
    ] = "",
    names: Annotated[
        str, typer.Option(help="Names to choose from: cat,dog or a file with a name a line.")
    ] = "",
    vocabulary: Annotated[
        Path | None, typer.Option(help="A file of names and their text vectors, for --names.")
    ] = None,
) -> None:
    """Find objects and name them: drawn into OUT/<stem>.png, or as JSON, a line per image.

    [cyan]opendet detect photo.jpg[/cyan]

    [cyan]opendet detect folder/*.jpg --model my-model --json > found.jsonl[/cyan]

    With masks: [cyan]opendet detect photo.jpg --masks facebook/sam-vit-base[/cyan]

    Without training: [cyan]opendet detect photo.jpg --method vl-sam --model vl_sam.yaml[/cyan]
    """
    from opendet.files import require_folder_place

    own = {"--build": build, "--masks": masks, "--namer": namer, "--names": names}
    _require_fit(method, {**own, "--vocabulary": vocabulary}, {"--maps": maps})
    if model and build:
        raise ValueError("--model and --build both name a model: leave one of them out")
    out = out or (None if as_json else Path("detections"))
    for place in (out, maps):
        if place:
            require_folder_place(place)
    vl_sam = _vl_sam(model, min_score) if method == VL_SAM else None
    naming = {"namer": namer, "names": names, "vocabulary": vocabulary}
    detector = vl_sam or _open_det(model or _trained_model(build), masks, min_score, naming)
    from opendet.predict_files import Unseen, detect_files, drawing_paths

    targets = drawing_paths(images, out) if out else [None] * len(images)
    stems = [path.stem for path in drawing_paths(images, maps or Path())]
    # VL-SAM keeps the maps of what it saw last.
    every = detect_files(detector, images, at_once=1 if vl_sam else AT_ONCE)
    broken = 0
    for seen, target, stem in zip(every, targets, stems, strict=True):
        if isinstance(seen, Unseen):
            broken += 1
            say_wrong(f"{seen.path}: {seen.why}")
            continue
        if vl_sam and maps:
            vl_sam.save_maps(maps, [stem])
        _give(seen, target, as_json)
    if vl_sam and not as_json:
        _tell_refused(vl_sam.refused)
    if broken:
        raise typer.Exit(FAILED)


def _require_fit(method: str, own: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Raises ValueError for no method, or for options of the other one: `own` are our detector's,
    `theirs` those of vl-sam."""
    if method not in METHODS:
        raise ValueError(f"no method is called {method!r}; there are {', '.join(METHODS)}")
    strange, other = (own, OPEN_DET) if method == VL_SAM else (theirs, VL_SAM)
    for option, given in strange.items():
        if given:
            raise ValueError(f"{option} is for --method {other}: leave it out, or change --method")


def _open_det(
    folder: Path, masks: str, min_score: float | None, naming: Mapping[str, Any]
) -> "Asked":
    """Our detector; `naming` has the options that say who names, empty where they are left out."""
    from opendet.annotators.segment import SegmentConfig
    from opendet.predict import Detector
    from opendet.predict_masks import masking

    least = MIN_SCORE if min_score is None else min_score
    detector = Detector.load(folder, _asked(least, naming))
    return masking(detector, SegmentConfig(model=masks), "--masks")


def _asked(min_score: float, naming: Mapping[str, Any]) -> "PredictConfig":
    from pydantic import ValidationError

    from opendet.name_list import read_names
    from opendet.predict_config import PredictConfig
    from opendet.section import explain

    given = {name: value for name, value in naming.items() if value}
    if "names" in given:
        given["names"] = read_names(given["names"])
    try:
        return PredictConfig.model_validate({"score_threshold": min_score, **given})
    except ValidationError as error:
        raise ValueError(explain(error, PredictConfig).removeprefix("the file: ")) from error


def _vl_sam(path: Path | None, min_score: float | None) -> "VlSam":
    if path is None:
        raise ValueError(
            f"--method {VL_SAM} needs --model: a YAML file that names its two models, model and "
            "segmenter"
        )
    from opendet.predict_masks import loading
    from opendet.vl_sam.method import load_vl_sam

    with loading():
        return load_vl_sam(path, **({} if min_score is None else {"min_score": min_score}))


def _trained_model(build: str) -> Path:
    from opendet.build import Build

    opened = Build.open(build)
    folder = opened.stage_folder("train") / "model"
    if not folder.is_dir():
        raise ValueError(
            f"the build {opened.name} has no model yet: make one with `opendet data build --until "
            "train`, or name one with --model"
        )
    return folder


def _tell_refused(refused: Mapping[str, int]) -> None:
    """Why answers, names and masks came to nothing: else nobody knows why nothing is found."""
    from opendet.inspect.tables import show

    if refused:
        show(f"left out: {', '.join(f'{reason} {refused[reason]}' for reason in sorted(refused))}")


def _give(seen: "Seen", target: Path | None, as_json: bool) -> None:
    """Draws what was seen where there is a target, and says it in a line."""
    from opendet.draw import draw_detections
    from opendet.inspect.tables import show
    from opendet.predict_files import seen_json

    if target:
        target.parent.mkdir(parents=True, exist_ok=True)
        draw_detections(seen.image, seen.detections).save(target)
    if as_json:
        typer.echo(seen_json(seen))
    else:
        names = ", ".join(names[0] for names in seen.detections.names) or "nothing found"
        show(f"{seen.path}: {names}{f' -> {target}' if target else ''}")
