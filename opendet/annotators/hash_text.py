"""A text tower that has learned nothing: a text's vector is made of those of its words.

T = unit(sum of E_word + 0.5 R_text), E and R drawn at random by a hash (spec/evidence.md G.2). A
text of known words is thus near what shares words with it, as with CLIP, and still its own.
"""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ARTICLES = frozenset(("a", "an", "the"))
Vectors = NDArray[np.float32]

# N texts, D width


class HashTextEncoder:
    """Unit vectors that are the same on every machine and in every process."""

    def __init__(self, width: int = 64, *, own: float = 0.5, seed: int = 0) -> None:
        assert width > 0, width
        self.width = width
        self.revision = f"hash-{width}-{own:g}-{seed}"
        self._own = own
        """Weight of what is the text's alone: 0 makes it the sum of its words."""
        self._seed = seed

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """(N, D) unit rows. Case, articles, punctuation and the order of words say nothing."""
        rows = [self._vector(text) for text in texts]
        return np.asarray(rows, np.float32).reshape(len(texts), self.width)

    def _vector(self, text: str) -> NDArray[np.float64]:
        words = [word for word in re.findall(r"\w+", text.lower()) if word not in ARTICLES]
        total = self._own * self._drawn(f"text {' '.join(sorted(words))}")
        for word in words:
            total = total + self._drawn(f"word {word}")
        norm = float(np.linalg.norm(total))
        return total / norm if norm else self._drawn("text ")

    def _drawn(self, what: str) -> NDArray[np.float64]:
        """(D,) a unit vector."""
        digest = hashlib.sha256(f"{self._seed} {what}".encode()).digest()
        key = int.from_bytes(digest[:16], "little")
        vector = np.random.Generator(np.random.Philox(key=key)).standard_normal(self.width)
        return vector / np.linalg.norm(vector)
