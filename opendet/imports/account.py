"""What is told of a batch that was read, on the terminal and in its card."""

from collections.abc import Iterator

from opendet.imports.survey import Seen
from opendet.sources.card import Batch

_BOX_MASKS = "outlines and run lengths where no masks are asked for (`--masks`)"
NOT_KEPT: dict[str, str] = {
    "folder": "whatever stands beside the images: a folder has no annotations",
    "coco": f"keypoints, areas, urls, supercategories; {_BOX_MASKS}",
    "lvis": f"synsets, definitions, frequencies, areas; {_BOX_MASKS}",
    "generateu": "the one category `object`, areas, outlines",
    "voc": "difficult, truncated, occluded, pose, and the parts of an object",
    "yolo": "the order of a file's lines, keypoints (refused), and, where no masks are asked for "
    "(`--masks`), outlines: their boxes are kept",
    "visual_genome": "attributes, relationships, synsets, questions",
    "flickr30k": "the kinds of phrases, scenes without a box, which phrases of several captions "
    "are one chain",
    "refcoco": f"the expressions as they were typed (`raw`), tokens; {_BOX_MASKS}",
    "mdetr": "negative tokens, the data set's own numbers, the objects that nobody speaks of",
    "openimages": "occluded, truncated, inside, depiction, and labels that a machine guessed",
    "odvg": "any key but filename, height, width, grounding, detection, conversations and tags",
    "grit": "CLIP's similarities, ids, urls, and the size before the images were made smaller",
}
"""What a format says that has no place in a record, or is not read."""


def lines_of(batch: Batch, seen: Seen) -> Iterator[str]:
    """A batch's account, for the terminal."""
    yield f"batch {batch.name} ({batch.split}, {batch.format}): {_counts(seen)}"
    yield f"  refused: {refusals_of(seen)}"
    yield f"  left out of the images that can be taken: {_told(seen.problems) or 'nothing'}"
    yield f"  {batch.format} says, and a record cannot keep: {NOT_KEPT[batch.format]}"


def refusals_of(seen: Seen) -> str:
    """Each reason with its number and its first image; `nothing` where all can be taken."""
    reasons = (
        f"{count} {reason} ({seen.first_refused[reason]})"
        for reason, count in sorted(seen.refused.items())
    )
    return ", ".join(reasons) or "nothing"


def _counts(seen: Seen) -> str:
    more = {
        "of a crowd": seen.crowds,
        "masks": seen.masks,
        "descriptions": seen.descriptions,
        "conversations": seen.conversations,
        "tags": seen.tags,
    }
    told = "".join(f", {count} {what}" for what, count in more.items() if count)
    return (
        f"{seen.images} images, {seen.boxes} boxes of {len(seen.names)} names, "
        f"{seen.captions} captions, {seen.phrases} phrases{told}"
    )


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
