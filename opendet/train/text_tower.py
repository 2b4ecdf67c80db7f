"""The frozen text tower that a configuration names."""

from pathlib import Path

from opendet.train.text_cache import CachedTower, Tower
from opendet.train.text_config import TextConfig

TRANSFORMERS = "transformers:"


def open_tower(
    config: TextConfig, *, build: Tower | None, cache: Path, device: str = "cpu"
) -> CachedTower | None:
    """The tower, with what it has said already in the folder `cache`.

    `build` is what `tower: build` stands for, None for a build without a CLIP. Raises ValueError,
    in one line, for a tower that does not load.
    """
    tower = _loaded(config, build, device)
    return None if tower is None else CachedTower(tower, cache)


def _loaded(config: TextConfig, build: Tower | None, device: str) -> Tower | None:
    if config.tower == "build":
        return build
    if config.tower == "hash":
        from opendet.annotators.hash_text import HashTextEncoder

        return HashTextEncoder(config.hash_width)
    if config.tower.startswith(TRANSFORMERS):
        from opendet.annotators.clip_text import ClipText

        return ClipText.load(config.tower.removeprefix(TRANSFORMERS), device=device)
    from opendet.annotators.clip import Clip

    return Clip.load(config.tower, pretrained=config.pretrained, device=device)
