"""The command `opendet judge`. Light to import: what is heavy is imported when it is run."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from opendet.evaluation.annotations import AnnotatedSet
    from opendet.evaluation.tables import FoundObjects


def judge_results(
    annotations: Annotated[
        Path, typer.Argument(help="An official annotation file: COCO, LVIS or Objects365.")
    ],
    results: Annotated[
        Path, typer.Argument(help="A results file; with --images it is written first.")
    ],
    protocol: Annotated[
        str,
        typer.Option(
            help="coco, coco_masks, objects365, ov_coco, lvis, lvis_minival, class_agnostic."
        ),
    ] = "coco",
    images: Annotated[
        Path | None, typer.Option(help="The images' folder: detect in them, and write RESULTS.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="A model's folder, with --images.")] = None,
    clip: Annotated[
        str, typer.Option(help="The text tower that reads names: a folder, or open_clip's name.")
    ] = "",
    clip_weights: Annotated[str, typer.Option(help="For a name: a tag or a file.")] = "",
    class_vectors: Annotated[
        Path | None, typer.Option(help="A .npy of class vectors; else CLIP makes them.")
    ] = None,
    draw_masks: Annotated[
        str,
        typer.Option(
            "--masks",
            help="With --images and coco_masks: the SAM, SAM 2 or SAM 3 that draws masks.",
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Judge a results file by an official annotation file.

    [cyan]opendet judge lvis_v1_val.json found.json --protocol lvis_minival[/cyan]

    With --images, --model and --clip the results are made first, names read as classes by
    GenerateU's protocol; with --masks and --protocol coco_masks a mask is drawn into each box.
    """
    from opendet.console import dress_logging
    from opendet.evaluation.annotations import read_annotations
    from opendet.evaluation.protocols import judge, judges_masks, known_protocol, require_fit
    from opendet.evaluation.results import read_results

    dress_logging()
    chosen = known_protocol(protocol)
    masks = judges_masks(chosen)
    if masks and images is not None and not draw_masks:
        raise ValueError(
            f"{chosen} judges masks and Open-Det finds boxes: name a model that draws masks with "
            "--masks, or judge boxes as coco"
        )
    if draw_masks and not masks:
        raise ValueError(f"{chosen} judges boxes: leave --masks out, or judge as coco_masks")
    judged_by = read_annotations(annotations, masks=masks)
    require_fit(judged_by, chosen)
    if images is None:
        if model or clip or clip_weights or class_vectors or draw_masks:
            raise ValueError(
                "--model, --clip, --class-vectors and --masks are for making results: name "
                "--images too"
            )
        found = read_results(results, judged_by, masks=masks)
    else:
        readers = clip, clip_weights, class_vectors
        found = _detect(judged_by, results, images, (model, draw_masks), readers)
    numbers = judge(judged_by, found, chosen)
    if as_json:
        finite = {name: None if math.isnan(one) else one for name, one in numbers.items()}
        typer.echo(json.dumps(finite, indent=1))
    else:
        for name, one in numbers.items():
            typer.echo(f"{name:<16} {'no object' if math.isnan(one) else f'{one:.4f}'}")


def _detect(
    judged_by: "AnnotatedSet",
    results: Path,
    images: Path,
    finders: tuple[Path | None, str],
    readers: tuple[str, str, Path | None],
) -> "FoundObjects":
    """`finders` are the detector's folder and the model of masks; `readers` a text tower, its
    weights and the class vectors."""
    (model, masks), (clip, clip_weights, class_vectors) = finders, readers
    if model is None or not clip:
        raise ValueError("--images needs a detector and a text tower: name --model and --clip")
    if results.exists():
        raise ValueError(f"{results} exists: leave --images out to judge it, or name another file")
    from opendet.annotators.clip import Clip
    from opendet.annotators.segment import SegmentConfig
    from opendet.evaluation.benchmark import detect_benchmark, judge_of
    from opendet.evaluation.config import EvaluateConfig
    from opendet.evaluation.results import write_results
    from opendet.files import require_folder_place
    from opendet.predict import Detector
    from opendet.predict_config import PredictConfig
    from opendet.predict_masks import masking

    require_folder_place(results.parent)
    config = EvaluateConfig(protocol="generateu")
    tower = Clip.load(clip, pretrained=clip_weights)
    reader = judge_of(judged_by, tower.encode_texts, class_vectors, config)
    asked = PredictConfig(
        score_threshold=config.score_threshold,
        max_objects=config.max_detections,
        beams=config.beams,
        batch_size=config.batch_size,
    )
    detector = masking(Detector.load(model, asked), SegmentConfig(model=masks), "--masks")
    found = detect_benchmark(detector.detect, judged_by, images, reader, config)
    write_results(results, found, judged_by)
    return found
