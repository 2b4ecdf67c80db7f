"""A model's folder as a folder of ONNX graphs, checked against it before it is there.

Written by torch.export, which says so where a decision depends on what is seen; the exporter that
traces writes such things down as they happened to be, sizes too, and says nothing.
"""

import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from opendet.exports.whole_folder import whole_folder
from opendet.files import write_durably
from opendet.manifest import FileStamp
from opendet.model.detector import SIZE_UNIT, OpenDetector
from opendet.model.t5_namer import T5Namer
from opendet.onnx_export.card import (
    CARD,
    DETECTOR,
    PREDICTOR,
    START,
    STEP,
    TOKENIZER,
    VECTORS,
    OnnxCard,
    PrototypeCard,
    WriterCard,
)
from opendet.onnx_export.images import in_units
from opendet.onnx_export.network import DetectorGraph, NamerStart, NamerStep, PredictorGraph
from opendet.onnx_export.session import open_graph
from opendet.train.export import NAMER, ModelCard, load_detector, read_card

OPSET = 18
CLOSE = 1e-4
"""How far boxes in [0, 1] and scores may be from the model's."""
TRACED_HW = (96, 128)
CHECKED_HW = ((64, 64), (96, 160))
"""Of the images that the graph is tried on: others than the one it was written with."""

Free = Mapping[str, Sequence[int]]
"""The free dimensions of each input."""


def export_onnx(folder: Path, out: Path) -> OnnxCard:
    """Write the model of a folder as ONNX; `out` appears whole or not at all.

    Raises ValueError, in one line, for a folder that is no whole model, where something is at `out`
    already, where onnx or onnxscript is missing, and for a model whose graph says something else.
    """
    _require_exporter()
    card, detector = read_card(folder), load_detector(folder)
    with whole_folder(out) as attempt, _quiet(), torch.no_grad():
        _write_detector(attempt / DETECTOR, detector)
        _check(attempt / DETECTOR, detector)
        if detector.prototypes is not None:
            _write_predictor(attempt / PREDICTOR, detector)
        if isinstance(detector.namer, T5Namer):
            _write_namer(attempt, detector.namer)
            shutil.copyfile(folder / NAMER / TOKENIZER, attempt / TOKENIZER)
        save_file(_vectors(detector), attempt / VECTORS)
        written = _card(card, detector, attempt)
        write_durably(attempt / CARD, (written.model_dump_json(indent=1) + "\n").encode())
    return written


def _write_detector(path: Path, detector: OpenDetector) -> None:
    graph = DetectorGraph(detector).eval()
    images, sizes_hw = _example(TRACED_HW)
    inputs = {"images": torch.from_numpy(in_units(images.numpy(), SIZE_UNIT)), "sizes_hw": sizes_hw}
    _write(path, graph, inputs, {"images": (0, 2, 4), "sizes_hw": (0,)}, graph.outputs)


def _example(size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Two images, the second one with padding."""
    height, width = size_hw
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    images[1, :, height - 6 :], images[1, :, :, width - 9 :] = 0, 0
    return images, torch.tensor([[height, width], [height - 6, width - 9]])


def _check(path: Path, detector: OpenDetector) -> None:
    """Raises ValueError where the graph's boxes or scores are not the model's."""
    session = open_graph(path, "cpu")
    for size_hw in CHECKED_HW:
        images, sizes_hw = _example(size_hw)
        output = detector(images, sizes_hw)
        given = {"images": in_units(images.numpy(), SIZE_UNIT), "sizes_hw": sizes_hw.numpy()}
        boxes, scores = session.run(["boxes_cxcywh", "scores"], given)
        valid, count = output.valid.numpy(), output.valid.shape[1]
        gaps = [
            np.abs(said[:, :count] - own.numpy())[valid].max()
            for said, own in ((boxes, output.boxes_cxcywh), (scores, output.scores()))
        ]
        if not max(gaps) <= CLOSE:
            raise ValueError(
                f"the graph's boxes are up to {gaps[0]:.1g} and its scores up to {gaps[1]:.1g} "
                f"from the model's on images of {size_hw[1]} x {size_hw[0]}: this model cannot be "
                "written as ONNX"
            )


def _write_predictor(path: Path, detector: OpenDetector) -> None:
    head = detector.prototypes
    assert head is not None
    width = head.prototypes.shape[1]
    inputs = {"enriched": torch.zeros(3, width), "classes": torch.zeros(5, width)}
    _write(path, PredictorGraph(head), inputs, {"enriched": (0,), "classes": (0,)}, ("logits",))


def _write_namer(folder: Path, namer: T5Namer) -> None:
    card, width = _writer_card(namer), namer.t5.config.d_model
    prompts = torch.zeros(3, namer.prompt_width)
    _write(folder / START, NamerStart(namer), {"prompts": prompts}, {"prompts": (0,)}, ("read",))
    objects, beams, slots = 3, 2, 5
    cache = torch.zeros(card.layers, objects, card.heads, slots, card.head_width)
    inputs = {
        "tokens": torch.zeros(objects, beams, dtype=torch.int64),
        "read": torch.zeros(card.layers, objects, 1, width),
        "keys": cache,
        "values": cache.clone(),
        "mask": torch.zeros(objects, card.heads, beams, slots + beams),
    }
    free = {"tokens": (0, 1), "read": (1,), "keys": (1, 3), "values": (1, 3), "mask": (0, 2, 3)}
    outputs = ("log_probs", "new_keys", "new_values")
    _write(folder / STEP, NamerStep(namer), inputs, free, outputs)


def _write(
    path: Path, graph: nn.Module, inputs: Mapping[str, Tensor], free: Free, outputs: Sequence[str]
) -> None:
    dynamic = {name: dict.fromkeys(own, torch.export.Dim.DYNAMIC) for name, own in free.items()}
    program: Any = torch.onnx.export(
        graph.eval(),
        tuple(inputs.values()),
        dynamo=True,
        opset_version=OPSET,
        dynamic_shapes=dynamic,
        input_names=list(inputs),
        output_names=list(outputs),
        optimize=False,  # onnxruntime does it on loading; here it takes as long as all the rest
        verbose=False,
    )
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # traces of this machine's files, larger than the graph
    program.save(path)  # the weights of a large model go beside it


def _vectors(detector: OpenDetector) -> dict[str, Any]:
    """What `namers` reads, by the names of `card.VECTORS`."""
    kept: dict[str, Tensor] = {}
    if isinstance(detector.namer, T5Namer):
        t5: Any = detector.namer.t5
        steps = detector.namer.config.max_new_tokens
        kept["bias"] = t5.decoder.block[0].layer[0].SelfAttention.compute_bias(steps, steps)[0]
    if detector.prototypes is not None:
        kept["prototypes"] = nn.functional.normalize(detector.prototypes.prototypes, dim=-1)
    if len(detector.aligners):
        aligner: Any = detector.aligners[-1]
        kept["to_language"] = aligner.to_language.weight
        if aligner.to_vision is not None:
            kept["to_vision"] = aligner.to_vision.weight
        if aligner.log_scale is not None:
            kept["log_scale"], kept["aligner_bias"] = aligner.log_scale, aligner.bias
    return {name: np.ascontiguousarray(one.detach().float()) for name, one in kept.items()}


def _writer_card(namer: T5Namer) -> WriterCard:
    t5: Any = namer.t5
    told, attention = t5.generation_config, t5.decoder.block[0].layer[0].SelfAttention
    ends = told.eos_token_id
    return WriterCard(
        max_new_tokens=namer.config.max_new_tokens,
        start=told.decoder_start_token_id,
        ends=(ends,) if isinstance(ends, int) else tuple(ends),
        pad=told.pad_token_id,
        layers=len(t5.decoder.block),
        heads=attention.n_heads,
        head_width=attention.key_value_proj_dim,
    )


def _card(card: ModelCard, detector: OpenDetector, folder: Path) -> OnnxCard:
    namer, head = detector.namer, detector.prototypes
    return OnnxCard(
        model=card.weights.sha256,
        shortest=card.resize.shortest,
        longest=card.resize.longest,
        unit=SIZE_UNIT,
        prompt_width=namer.prompt_width,
        beams=namer.config.beams,
        clip=str(card.training.get("clip") or "none"),
        writer=_writer_card(namer) if isinstance(namer, T5Namer) else None,
        prototypes=head and PrototypeCard(names=head.names, temperature=head.config.temperature),
        aligner=len(detector.aligners) > 0,
        files={path.name: FileStamp.of(path) for path in sorted(folder.iterdir())},
    )


def _require_exporter() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"{error.name}, which writes ONNX, is missing: pip install onnx onnxscript"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's notes of what it leaves as it is are for its own developers."""
    log = logging.getLogger("onnxscript")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
