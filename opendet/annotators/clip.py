"""CLIP: pictures and texts as unit vectors of one space. Any model that open_clip can load.

Torch and open_clip take seconds to import, so they are imported where they are used.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opendet.record import BoxXYXY

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

LOCAL = "local-dir:"
GREY = (127, 127, 127)
PREPARING_THREADS = 8
"""That resize pictures for a GPU."""
BATCHES_AHEAD = 2
Vectors = NDArray[np.float32]

# N pictures or texts, D width of the common space, S side of the model's square input


def crop_region(pixels: Image.Image, box_xyxy: BoxXYXY, *, context: float) -> Image.Image:
    """The box and its surroundings, centred on a grey square.

    The box grows by `context` of its longer side, half of that at each border, within the image.
    What lies further out is grey: the square says which of two overlapping objects is meant.
    """
    x0, y0, x1, y1 = box_xyxy
    margin = context * max(x1 - x0, y1 - y0) / 2
    left, top = max(0, int(x0 - margin)), max(0, int(y0 - margin))
    right = min(pixels.width, max(left + 1, round(x1 + margin)))
    bottom = min(pixels.height, max(top + 1, round(y1 + margin)))
    side = max(right - left, bottom - top)
    square = Image.new("RGB", (side, side), GREY)
    corner = ((side - (right - left)) // 2, (side - (bottom - top)) // 2)
    square.paste(pixels.crop((left, top, right, bottom)).convert("RGB"), corner)
    return square


class Clip:
    """A loaded CLIP. `Clip.load` is the way in."""

    def __init__(self, model: "Module", preprocess: Any, tokenizer: Any, *, name: str) -> None:
        self._model = model.eval()
        self._preprocess = preprocess
        self._tokenizer = tokenizer
        self._device = next(model.parameters()).device
        self.name = name
        """What provenance calls it; holds no path, so a build is the same in any folder."""
        self.revision = weights_digest(model)[:12]
        self.width = self.encode_texts([""]).shape[1]
        """D."""

    @property
    def preprocessing(self) -> str:
        """How pictures are brought to its input, in words."""
        return " ".join(repr(self._preprocess).split())

    @classmethod
    def load(cls, model: str, *, pretrained: str = "", device: str = "cpu") -> "Clip":
        """A folder in open_clip's local-dir form, or the name of an open_clip model.

        A name needs `pretrained`, a tag of open_clip's list or a file of weights; a `hf-hub:` name
        and a folder bring theirs. Raises ValueError, in one line, where that gives no model.
        """
        import open_clip

        address = _address_of(model, pretrained)
        with _one_line(model), _nobody_is_asked():
            network, _, preprocess = open_clip.create_model_and_transforms(
                address, pretrained=pretrained or None, device=device, require_pretrained=True
            )
            tokenizer = _tokenizer_of(address)
            return cls(network, preprocess, tokenizer, name=_name_of(address))

    def encode_images(self, images: Sequence[Image.Image], *, batch: int = 32) -> Vectors:
        """(N, D) unit rows of N RGB pictures."""
        return self._in_batches("encode_image", self._stacked(images, batch), batch)

    def encode_texts(self, texts: Sequence[str], *, batch: int = 32) -> Vectors:
        """(N, D) unit rows of N texts, each cut where the model's context ends."""
        import torch

        rows = torch.split(self._tokenizer(list(texts)), batch) if texts else ()
        return self._in_batches("encode_text", rows, batch)

    def _stacked(self, images: Sequence[Image.Image], batch: int) -> "Iterator[Tensor]":
        """Batches (at most `batch`, 3, S, S). For a GPU they are made by threads, ahead of it; a
        worker on the CPU keeps to its one core."""
        import torch

        pieces = [images[start : start + batch] for start in range(0, len(images), batch)]
        if self._device.type == "cpu":
            for piece in pieces:
                yield torch.stack([self._preprocess(image) for image in piece])
            return
        with ThreadPoolExecutor(max_workers=PREPARING_THREADS) as pool:
            ahead: deque[Iterator[Tensor]] = deque()
            for piece in pieces:
                ahead.append(pool.map(self._preprocess, piece))
                if len(ahead) > BATCHES_AHEAD:
                    yield torch.stack(list(ahead.popleft()))
            while ahead:
                yield torch.stack(list(ahead.popleft()))

    def _in_batches(self, encode: str, batches: "Iterable[Tensor]", size: int) -> Vectors:
        """In batches of one size, so that what else is asked for changes no bit of a row."""
        import torch

        found: list[Vectors] = []
        with torch.inference_mode():
            for piece in batches:
                filler = piece[-1:].expand(size - len(piece), *piece.shape[1:])
                full = torch.cat((piece, filler)).to(self._device)
                unit = getattr(self._model, encode)(full, normalize=True)
                found.append(unit[: len(piece)].float().cpu().numpy())
        return np.concatenate(found) if found else np.zeros((0, self.width), np.float32)


def weights_digest(model: "Module") -> str:
    """SHA-256 of a model's weights, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _address_of(model: str, pretrained: str) -> str:
    """What open_clip wants to hear. Raises ValueError where it cannot know the model."""
    import open_clip

    folder = Path(model.removeprefix(LOCAL))
    if folder.is_dir() or model.startswith(LOCAL):
        if not (folder / "open_clip_config.json").is_file():
            raise ValueError(
                f"{folder} holds no CLIP model (open_clip_config.json is missing): name a folder "
                f"that open_clip saved, or build the stage `clip` first"
            )
        return f"{LOCAL}{folder}"
    if model.startswith("hf-hub:"):
        return model
    known: list[str] = open_clip.list_models()
    if model.replace("/", "-") not in known:
        near = ", ".join(get_close_matches(model, known, n=3)) or "open_clip.list_models()"
        raise ValueError(f"CLIP model {model!r} is neither a folder nor an open_clip name: {near}?")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if pretrained not in tags and not Path(pretrained).is_file():
        raise ValueError(
            f"CLIP model {model!r} has no weights {pretrained!r}: set `pretrained` to a file or to "
            f"one of {', '.join(tags) or 'no published tags'}"
        )
    return model


def _tokenizer_of(address: str) -> Any:
    """open_clip's. One of transformers runs no code, whatever the model's own configuration says:
    its `tokenizer_kwargs` may hold `trust_remote_code`."""
    import open_clip

    config = open_clip.get_model_config(address)
    text = None if config is None else config.get("text_cfg")
    of_open_clip = config is None or (text is not None and not text.get("hf_tokenizer_name"))
    guarded = {} if of_open_clip else {"trust_remote_code": False}
    return open_clip.get_tokenizer(address, **guarded)


@contextmanager
def _nobody_is_asked() -> Iterator[None]:
    """open_clip does not tell transformers whether a text tower's code may run, which would ask on
    the terminal. Given no time to answer it refuses."""
    from transformers import dynamic_module_utils

    before = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = before


@contextmanager
def _one_line(model: str) -> Iterator[None]:
    """Whatever open_clip, the hub or torch says about a model that will not load, as one line."""
    try:
        yield
    except Exception as error:  # torch, pickle, safetensors and the hub have each their own
        said = " ".join(str(error).split())[:300]
        raise ValueError(
            f"CLIP model {model!r} does not load ({said}): where the hub cannot be reached, fetch "
            f"the weights to a folder and name that"
        ) from error


def _name_of(address: str) -> str:
    if not address.startswith(LOCAL):
        return address
    folder = Path(address.removeprefix(LOCAL))
    config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    return str(config.get("name") or folder.resolve().name)
