"""How fast the stages with models are, and for how much of the time the GPU waits for them.

Ours are the stages themselves: JPEGs are decoded ahead of a worker that asks in batches. Theirs is
a plain loop over images. On a GPU the models have LLaVA-1.5-7B's shape, in bf16, and ViT-B/32's,
with random weights; on a CPU they are tiny, and the numbers say that the bench runs, nothing else.
The GPU waits while no model is called.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from opendet.annotators.vision_language import VisionLanguageConfig
from opendet.bench.annotator_world import NAMES, Work, full_size, opened, photographs, tiny
from opendet.bench.forward import settle_of
from opendet.bench.harness import Place, Row, at_least, at_most, code_of
from opendet.bench.plain_loop import plain_rates
from opendet.bench.random_models import save_llava, save_open_clip
from opendet.curate.caption import CaptionConfig, Captioner
from opendet.curate.clip import ClipConfig, build_clip
from opendet.curate.describe import DescribeConfig, Describer
from opendet.curate.embed import EmbedConfig, Embedder
from opendet.manifest import ShardName
from opendet.sample import Sample
from opendet.shard_run import run_shard
from opendet.stage import Stage, Task, Worker

FASTER, WAITS = 3.0, 0.10


@dataclass(frozen=True, slots=True)
class Speed:
    """How many were made in how many seconds, and how long a model was at work."""

    count: int
    seconds: float
    at_work: float

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    @property
    def waits(self) -> float:
        return 1 - self.at_work / self.seconds


def measure(place: Place) -> Iterator[Row]:
    """Captions, regions and crops a second. Only a GPU's numbers have goals."""
    on_gpu = place.device.startswith("cuda")
    work = full_size() if on_gpu else tiny()
    told: dict[str, dict[str, float]] | None = place.unit(
        asdict(work),
        code_of("opendet.bench.annotators"),
        partial(speeds, work, place.device, place.folder),
        what="the annotators' speeds",
    )
    for kind, one in (told or {}).items():
        yield Row(f"{kind}/s", one["rate"], detail=f"{one['count']:g}, in batches of {work.batch}")
        if plain := one.get("plain"):
            metric, detail = f"{kind}/s: times a plain loop's", f"{one['rate']:.3g}, {plain:.3g}"
            times = one["rate"] / plain
            yield at_least(metric, times, FASTER, detail) if on_gpu else Row(metric, times)
        metric = f"{kind}: share of the time that the model waits"
        yield at_most(metric, one["waits"], WAITS) if on_gpu else Row(metric, one["waits"])


def speeds(work: Work, device: str, folder: Path) -> dict[str, dict[str, float]]:
    """What is made -> how many, how many a second, in a plain loop too, and the waits' share."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as temporary:
        model, clip = Path(temporary) / "llava", Path(temporary) / "clip"
        save_llava(model, work.llava, dtype=work.dtype, device=device)
        save_open_clip(clip, work.clip)
        build_clip([], ClipConfig(model=str(clip)), seed=0, folder=clip)
        samples, further = photographs(work.images, work), photographs(work.crop_images, work)
        ours = {
            "captions": stage_speed(_captioner(work, model, device), samples, work, device, each=1),
            "regions": stage_speed(_describer(work, model, device), samples, work, device),
            "CLIP crops": stage_speed(_embedder(work, clip, device), further, work, device),
        }
        plain = plain_rates(model, work, device, samples)
    return {
        kind: {"count": speed.count, "rate": speed.rate, "waits": speed.waits}
        | ({"plain": plain[kind]} if kind in plain else {})
        for kind, speed in ours.items()
    }


def stage_speed(
    load: Callable[[], Worker[Sample, Any]],
    samples: Sequence[Sample],
    work: Work,
    device: str,
    *,
    each: int = 0,
) -> Speed:
    """A stage over one shard, after a batch that nobody times. `each`: what is made of an image;
    0 for its regions."""
    task = Task(ShardName("bench", "bench", "train"))
    stage: Stage[Sample, Any] = Stage(
        name="bench",
        fingerprint="",
        read=lambda _: samples,
        load=load,
        write=lambda *_: None,
        prepare=opened,
        batch_size=work.batch,
    )
    worker = load()
    run_shard(replace(stage, read=lambda _: samples[: work.batch]), worker, task)
    with model_calls(device) as seconds:
        start = time.perf_counter()
        outcome = run_shard(stage, worker, task)
        wall = time.perf_counter() - start
    assert not outcome.quarantined, outcome.quarantined[0]
    return Speed(len(samples) * (each or work.regions), wall, sum(seconds))


@contextmanager
def model_calls(device: str) -> Iterator[list[float]]:
    """The seconds of each call of a vision-language model, or of CLIP's picture tower."""
    import open_clip
    from transformers import LlavaForConditionalGeneration

    spent: list[float] = []
    settle = settle_of(device)

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            settle()
            start = time.perf_counter()
            result = call(*arguments, **named)
            settle()
            spent.append(time.perf_counter() - start)
            return result

        return run

    plain = LlavaForConditionalGeneration.generate, open_clip.CLIP.encode_image
    model, clip = cast(Any, LlavaForConditionalGeneration), cast(Any, open_clip.CLIP)
    model.generate, clip.encode_image = map(timed, plain)
    try:
        yield spent
    finally:
        model.generate, clip.encode_image = plain


def _captioner(work: Work, model: Path, device: str) -> Callable[[], Worker[Sample, Any]]:
    asked = _asked(work, model, device, work.tokens)
    return lambda: Captioner(CaptionConfig(annotator="vision_language", vision_language=asked))


def _describer(work: Work, model: Path, device: str) -> Callable[[], Worker[Sample, Any]]:
    asked = _asked(work, model, device, work.short)
    return lambda: Describer(DescribeConfig(annotator="vision_language", vision_language=asked))


def _embedder(work: Work, clip: Path, device: str) -> Callable[[], Worker[Sample, Any]]:
    config = EmbedConfig(device=device, batch=work.batch * work.regions)
    return lambda: Embedder(clip, NAMES, config)


def _asked(work: Work, model: Path, device: str, tokens: int) -> VisionLanguageConfig:
    return VisionLanguageConfig.model_validate(
        {
            "model": str(model),
            "dtype": work.dtype,
            "device": device,
            "batch_size": work.batch,
            "max_new_tokens": tokens,
        }
    )
