"""Images are decoded while the model works on those before them, and no more than a few batches."""

import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import flow_world as world
from PIL import Image

from opendet.record import Record
from opendet.sample import Sample
from opendet.shard_run import BATCHES_AHEAD, run_shard

BATCH = world.stage().batch_size
PATIENCE = 60.0


@dataclass
class Decoder:
    """Opens small pictures, and knows which of them are still held."""

    opened: list["weakref.ref[Image.Image]"] = field(default_factory=list)

    def __call__(self, sample: Sample) -> Sample:
        pixels = Image.new("RGB", (8, 8))
        self.opened.append(weakref.ref(pixels))
        return replace(sample, pixels=pixels)

    def held(self) -> int:
        return sum(pixels() is not None for pixels in self.opened)


@dataclass
class Model:
    """Works until all the images are open that may be."""

    decoder: Decoder
    calls: int = 0
    most_held: int = 0

    def __call__(self, samples: Sequence[Sample]) -> list[Record]:
        self.calls += 1
        ahead = min((self.calls + BATCHES_AHEAD) * BATCH, world.SHARD_SAMPLES)
        deadline = time.monotonic() + PATIENCE
        while len(self.decoder.opened) < ahead:
            assert time.monotonic() < deadline, "nothing is decoded while the model works"
            time.sleep(0.001)
        time.sleep(0.02)  # whoever opens too many does so now
        assert len(self.decoder.opened) == ahead
        self.most_held = max(self.most_held, self.decoder.held())
        return [sample.record for sample in samples]


def test_the_next_batches_are_decoded_while_the_model_works() -> None:
    decoder = Decoder()
    model = Model(decoder)
    stage = replace(world.stage(), prepare=decoder)
    outcome = run_shard(stage, model, world.tasks(1)[0])
    assert len(outcome.kept) == world.SHARD_SAMPLES
    assert model.calls == world.SHARD_SAMPLES // BATCH
    assert model.most_held <= (1 + BATCHES_AHEAD) * BATCH + 1  # the last one of the batch before
    assert decoder.held() == 0
