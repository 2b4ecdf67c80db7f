"""Text vectors of category names, as a file brings them or a text tower makes them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from opendet.evaluation.naming import TextEncoder, embed_texts, in_template
from opendet.evaluation.tables import Floats

# C categories, D width of the judge's text vectors


def encode_classes(encode: TextEncoder, names: Sequence[str], template: str) -> Floats:
    """(C, D) unit rows."""
    texts = [in_template(name, template) for name in names]
    vectors = embed_texts(encode, texts)
    return np.stack([vectors[text] for text in texts])


def read_class_vectors(path: Path, *, names: int) -> Floats:
    """(C, D) unit rows of a NumPy file with one row for each of the `names`, in their ids' order.

    GenerateU and others keep their `"a " + name` so. Raises ValueError, in one line, for another
    file, another number of rows, and rows that are no directions.
    """
    try:
        rows = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing") from error
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is no NumPy array of numbers: {error}") from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype.kind != "f":
        raise ValueError(f"{path} holds no matrix of floats: save one row for each name")
    if len(rows) != names:
        raise ValueError(
            f"{path} has {len(rows)} rows for {names} categories: it is of another vocabulary"
        )
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise ValueError(f"{path} has rows that are zero or not finite: make it anew")
    return np.asarray(rows / lengths, np.float64)


def require_same_width(classes: Floats, texts: Floats) -> None:
    """Raises ValueError where class vectors and a text tower's vectors cannot be compared."""
    if classes.shape[1] != texts.shape[1]:
        raise ValueError(
            f"the class vectors are {classes.shape[1]} wide and the text tower's "
            f"{texts.shape[1]}: take the tower that the class vectors were made with"
        )
