"""The frozen text tower that a configuration names."""

from pathlib import Path

from opendet.curate.clip import open_clip_of
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


def tower_of(clip_folder: Path, config: TextConfig, *, cache: Path) -> tuple[Tower, str]:
    """The tower that teaches and judges a build's names, and the text that stands for a name.

    `clip_folder` is that of the stage `clip`. The build's own CLIP is asked anew each time: a
    vector's last bits hang on what else was in its batch, and a build must give the same bytes
    whatever was asked before it.
    """
    clip, choice = open_clip_of(clip_folder)
    if config.tower == "build":
        return clip, config.template or choice.template
    tower = open_tower(config, build=clip, cache=cache)
    assert tower is not None
    return tower, config.template or choice.template


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
