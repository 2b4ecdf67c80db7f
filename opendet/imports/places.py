"""Where a batch lies: the paths that somebody gave, as a card has them."""

import os
from collections.abc import Mapping
from pathlib import Path


def located(
    project: Path, images: Path, files: Mapping[str, Path], *, form: str
) -> tuple[str, dict[str, str]]:
    """The batch's root, and its paths below it by the card's keys.

    The root is the deepest folder that all lie in: relative to the project where it is below it,
    else absolute. Links stay as they are. Raises ValueError, in one line, for what is not there.
    """
    if not images.is_dir():
        raise ValueError(f"--images {images} is no folder: name the folder of the images")
    for key, path in files.items():
        if not path.exists():
            raise ValueError(f"--{key.replace('_', '-')} {path} is not there: name a file that is")
    paths = {"images": absolute(images), **{key: absolute(one) for key, one in files.items()}}
    folders = [path if path.is_dir() else path.parent for path in paths.values()]
    if form == "yolo":
        folders.append(_above_labels(paths["images"]))
    root = Path(os.path.commonpath(folders))
    below = {key: path.relative_to(root).as_posix() for key, path in paths.items()}
    if below["images"] == ".":
        del below["images"]
    home = absolute(project)
    shown = root.relative_to(home) if root.is_relative_to(home) else root
    return shown.as_posix(), below


def absolute(path: Path) -> Path:
    """Without `..`, and with links as they are."""
    return Path(os.path.abspath(path))  # noqa: PTH100  Path.resolve would follow links


def _above_labels(images: Path) -> Path:
    """YOLO looks for labels below `labels` in the place of the last `images`: the folder above
    both, where there is such a folder."""
    parts = images.parts
    if "images" not in parts:
        return images
    last = len(parts) - 1 - parts[::-1].index("images")
    above = Path(*parts[:last])
    return above if above.joinpath("labels", *parts[last + 1 :]).is_dir() else images
