"""The frozen text tower that a configuration names."""

from pathlib import Path

from opendet.curate.clip import open_clip_of
from opendet.train.text_cache import CachedTower, Tower
from opendet.train.text_config import TextConfig

TRANSFORMERS = "transformers:"


def tower_of(clip_folder: Path, config: TextConfig, *, cache: Path) -> tuple[Tower, str]:
    """The tower that teaches and judges a build's names, and the text that stands for a name.

    `clip_folder` is that of the stage `clip`. The build's own CLIP is asked anew each time: a
    vector's last bits hang on what else was in its batch, and a build must give the same bytes
    whatever was asked before it.
    """
    clip, choice = open_clip_of(clip_folder)
    if config.tower == "build":
        return clip, config.template or choice.template
    return open_tower(config, cache=cache), config.template or choice.template


def open_tower(config: TextConfig, *, cache: Path) -> CachedTower:
    """A tower that is not the build's, with what it has said already in the folder `cache`.

    Raises ValueError, in one line, for a tower that does not load.
    """
    return CachedTower(_loaded(config), cache)


def _loaded(config: TextConfig) -> Tower:
    if config.tower == "hash":
        from opendet.annotators.hash_text import HashTextEncoder

        return HashTextEncoder(config.hash_width)
    if config.tower.startswith(TRANSFORMERS):
        from opendet.annotators.clip_text import ClipText

        return ClipText.load(config.tower.removeprefix(TRANSFORMERS))
    from opendet.annotators.clip import Clip

    return Clip.load(config.tower, pretrained=config.pretrained)
