"""The command `opendet detect`. Light to import: what is heavy is imported when it is run."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opendet.console import FAILED

if TYPE_CHECKING:
    from opendet.build import Build
    from opendet.model.vocabulary import Vocabulary
    from opendet.predict_config import PredictConfig
    from opendet.predict_masks import Asked
    from opendet.vl_sam.method import VlSam

AT_ONCE = 8
"""Images in memory together."""
MIN_SCORE = 0.3
"""Of what our detector shows."""
OPEN_DET, VL_SAM = METHODS = ("open-det", "vl-sam")


def detect_images(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...",
            help="Images (JPEG, PNG, WebP), folders, patterns such as 'shots/**/*.jpg', films, or "
            "a camera's number.",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="A model's folder or hub name, else the build's; of vl-sam its configuration."
        ),
    ] = "",
    build: Annotated[
        str,
        typer.Option("--build", help="A name of configs/; else the one that params.yaml chooses."),
    ] = "",
    onnx: Annotated[
        Path | None,
        typer.Option(help="A folder of `opendet model export onnx`: detects without torch."),
    ] = None,
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
    every: Annotated[int, typer.Option(min=1, help="Look at every Nth frame of films.")] = 1,
    webcam: Annotated[
        int | None, typer.Option(min=0, help="A camera's number; Ctrl-C ends it.")
    ] = None,
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
    """Find objects and name them: drawn into OUT/<stem>.png or .mp4, or as JSON, a line a picture.

    [cyan]opendet detect photo.jpg[/cyan]

    [cyan]opendet detect holiday/ clip.mp4 --model my-model --json > found.jsonl[/cyan]

    Two names alone: [cyan]opendet detect photo.jpg --names cat,dog[/cyan]

    A camera, until Ctrl-C: [cyan]opendet detect 0[/cyan]

    With masks: [cyan]opendet detect photo.jpg --masks facebook/sam-vit-base[/cyan]

    Without training: [cyan]opendet detect photo.jpg --method vl-sam --model vl_sam.yaml[/cyan]
    """
    from opendet.console import interrupt_on_sigterm
    from opendet.files import require_folder_place
    from opendet.media.inputs import expand

    own = {"--build": build, "--masks": masks, "--namer": namer, "--names": names, "--onnx": onnx}
    _require_fit(method, {**own, "--vocabulary": vocabulary}, {"--maps": maps})
    _require_one_model({"--model": model, "--build": build, "--onnx": onnx})
    out = out or (None if as_json else Path("detections"))
    for place in (out, maps):
        if place:
            require_folder_place(place)
    given = [*(inputs or ()), *([str(webcam)] if webcam is not None else ())]
    if not given:
        raise typer.BadParameter("name images, folders or films to look at, or take --webcam 0")
    seen = expand(given, without=out)
    vl_sam = _vl_sam(model, min_score) if method == VL_SAM else None
    naming = {"namer": namer, "names": names, "vocabulary": vocabulary}
    detector = vl_sam or _masking(_loaded(model, build, onnx, min_score, naming), masks)
    interrupt_on_sigterm()  # a film that is half written is taken away
    from opendet.media.looking import Look, look_at

    def save_maps(stem: str) -> None:
        if vl_sam and maps:  # it keeps those of what it saw last
            vl_sam.save_maps(maps, [stem])

    look = Look(out, as_json, every, 1 if vl_sam else AT_ONCE, save_maps)
    wrong = look_at(detector, seen.shown, look)
    _tell_left_out(seen.skipped, vl_sam.refused if vl_sam and not as_json else {})
    if wrong:
        raise typer.Exit(FAILED)


def _require_one_model(given: Mapping[str, Any]) -> None:
    """Raises ValueError where several options name a model."""
    named = [option for option, value in given.items() if value]
    if len(named) > 1:
        both = " and ".join(named)
        raise ValueError(f"{both} both name a model: leave one of them out")


def _require_fit(method: str, own: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Raises ValueError for no method, or for options of the other one: `own` are our detector's,
    `theirs` those of vl-sam."""
    if method not in METHODS:
        raise ValueError(f"no method is called {method!r}; there are {', '.join(METHODS)}")
    strange, other = (own, OPEN_DET) if method == VL_SAM else (theirs, VL_SAM)
    for option, given in strange.items():
        if given:
            raise ValueError(f"{option} is for --method {other}: leave it out, or change --method")


def _loaded(
    model: str, build: str, onnx: Path | None, min_score: float | None, naming: Mapping[str, Any]
) -> "Asked":
    """Our detector; `naming` has the options that say who names, empty where they are left out."""
    config = _asked(MIN_SCORE if min_score is None else min_score, naming)
    if onnx:
        from opendet.onnx_export.runtime import OnnxDetector

        return OnnxDetector.load(onnx, config)
    from opendet.predict import Detector

    if model:
        from opendet.hub.resolve import resolve_model

        return Detector.load(resolve_model(model), config)
    opened = _opened(build)
    return Detector.load(_trained_model(opened), config, vocabulary=_vocabulary_of(opened, config))


def _masking(detector: "Asked", masks: str) -> "Asked":
    if not masks:
        return detector
    from opendet.annotators.segment import SegmentConfig
    from opendet.predict_masks import masking

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


def _vl_sam(path: str, min_score: float | None) -> "VlSam":
    if not path:
        raise ValueError(
            f"--method {VL_SAM} needs --model: a YAML file that names its two models, model and "
            "segmenter"
        )
    from opendet.predict_masks import loading
    from opendet.vl_sam.method import load_vl_sam

    with loading():
        return load_vl_sam(Path(path), **({} if min_score is None else {"min_score": min_score}))


def _opened(build: str) -> "Build":
    from opendet.build import Build

    return Build.open(build)


def _trained_model(build: "Build") -> Path:
    folder = build.stage_folder("train") / "model"
    if not folder.is_dir():
        raise ValueError(
            f"the build {build.name} has no model yet: make one with `opendet data build --until "
            "train`, or name one with --model"
        )
    return folder


def _vocabulary_of(build: "Build", config: "PredictConfig") -> "Vocabulary | None":
    """For names that are given without their vectors: the build's own text tower writes them."""
    wanted = config.names and config.vocabulary is None
    if not wanted or config.namer == "prototypes":
        return None
    from opendet.model.vocabulary import encode_vocabulary
    from opendet.train.text_tower import tower_of

    cache = build.work("text", "towers").root
    tower, template = tower_of(build.stage_folder("clip"), build.config.text, cache=cache)
    return encode_vocabulary(config.names, tower, template)


def _tell_left_out(skipped: int, refused: Mapping[str, int]) -> None:
    """What was passed over, and why answers, names and masks came to nothing: else nobody knows why
    nothing is found."""
    from opendet.inspect.tables import show

    if skipped:
        typer.echo(f"{skipped} files that are no images were skipped", err=True)
    if refused:
        show(f"left out: {', '.join(f'{reason} {refused[reason]}' for reason in sorted(refused))}")
