"""Which encoder a detector has."""

from opendet.model.config import DetectorConfig
from opendet.model.encoder import Encoder
from opendet.model.hybrid_encoder import HybridEncoder


def build_encoder(config: DetectorConfig) -> Encoder | HybridEncoder:
    """Feature tokens in, feature tokens of the same shapes out."""
    return HybridEncoder(config) if config.encoder == "hybrid" else Encoder(config)
