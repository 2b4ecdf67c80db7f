"""Repeat factor sampling: images with rare names come more often.

LVIS, Gupta et al. 2019: r(c) = max(1, sqrt(t / f(c))) for a name c that a share f(c) of the images
shows, and r of an image is the largest r(c) of its names. A name is rare where f(c) < t.
"""

from collections import Counter
from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray


def repeat_factors(names: Sequence[frozenset[str]], *, threshold: float) -> NDArray[np.float64]:
    """N images' names -> (N,) how often each comes, at least 1; 1 for an image without a name."""
    images = Counter(name for shown in names for name in shown)
    factor = {
        name: max(1.0, sqrt(threshold * len(names) / count)) for name, count in images.items()
    }
    return np.array([max((factor[name] for name in shown), default=1.0) for shown in names])
