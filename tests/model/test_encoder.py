import pytest
import torch
from torch import Tensor
from transformers import DeformableDetrConfig
from transformers.models.deformable_detr.modeling_deformable_detr import DeformableDetrEncoderLayer

from opendet.model import encoder as module
from opendet.model.config import DetectorConfig
from opendet.model.encoder import EncoderLayer, token_centres
from opendet.model.encoder_choice import build_encoder
from opendet.model.features import FeatureTokens, join_levels
from tests.model.worlds import TINY_DETECTOR

KINDS = pytest.mark.parametrize("kind", ["deformable", "hybrid"])
STRIDES = (8, 16, 32, 64)
NAMES = {
    "attention.offsets": "self_attn.sampling_offsets",
    "attention.weights": "self_attn.attention_weights",
    "attention.values": "self_attn.value_proj",
    "attention.output": "self_attn.output_proj",
    "norm": "self_attn_layer_norm",
    "feedforward.layers.0": "mlp.fc1",
    "feedforward.layers.3": "mlp.fc2",
    "feedforward.norm": "final_layer_norm",
}


def _config(kind: str, **changes: object) -> DetectorConfig:
    return TINY_DETECTOR.model_copy(update={"encoder": kind, "encoder_layers": 2, **changes})


def _features(sizes_hw: Tensor, side: tuple[int, int] = (64, 96)) -> FeatureTokens:
    shapes = [(-(-side[0] // stride), -(-side[1] // stride)) for stride in STRIDES]
    maps = [torch.randn(len(sizes_hw), TINY_DETECTOR.width, *shape) for shape in shapes]
    return join_levels(maps, STRIDES, sizes_hw)


def _crop(features: FeatureTokens, image: int, side: tuple[int, int]) -> FeatureTokens:
    """What the image's features would be alone, of a padded size of its own."""
    maps = [features.level(index)[image : image + 1] for index in range(len(STRIDES))]
    cut = [
        m[..., : -(-side[0] // stride), : -(-side[1] // stride)]
        for m, stride in zip(maps, STRIDES, strict=True)
    ]
    return join_levels(cut, STRIDES, (features.extents_wh[image, :1] * 8).flip(-1))


def test_a_layer_equals_deformable_detr() -> None:
    torch.manual_seed(0)
    config = _config("deformable")
    theirs = DeformableDetrEncoderLayer(
        DeformableDetrConfig(
            d_model=config.width,
            encoder_attention_heads=config.heads,
            encoder_ffn_dim=config.feedforward,
            encoder_n_points=config.points,
            num_feature_levels=config.levels,
            dropout=0.0,
        )
    ).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    weights = theirs.state_dict()
    layer = EncoderLayer(config)
    layer.load_state_dict(
        {
            f"{ours}.{kind}": weights[f"{name}.{kind}"]
            for ours, name in NAMES.items()
            for kind in ("weight", "bias")
        }
    )
    features = _features(torch.tensor([[64, 128], [64, 64]]), (64, 128))
    positions, centres = torch.randn(2, features.tokens.shape[1], 32), token_centres(features)
    output = theirs(
        features.tokens,
        attention_mask=features.valid,
        spatial_position_embeddings=positions,
        reference_points=centres[:, :, None] * features.ratios_wh()[:, None],
        spatial_shapes=torch.tensor(features.shapes),
        spatial_shapes_list=list(features.shapes),
        level_start_index=torch.zeros(4),
    )
    theirs_tokens = output if torch.is_tensor(output) else output[0]
    for gradient in (True, False):
        with torch.set_grad_enabled(gradient):
            ours = layer(features, positions, centres).tokens
        torch.testing.assert_close(ours, theirs_tokens, atol=1e-5, rtol=1e-5)


@KINDS
def test_an_image_alone_and_beside_larger_ones(kind: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(_config(kind)).eval()
    sizes_hw = torch.tensor([[64, 96], [50, 40], [33, 96], [1, 1]])
    features = _features(sizes_hw)
    with torch.no_grad():
        together = encoder(features)
        for image, side in enumerate([(64, 96), (64, 64), (64, 96), (32, 32)]):
            alone = encoder(_crop(features, image, side))
            valid = together.valid[image]
            torch.testing.assert_close(
                together.tokens[image, valid], alone.tokens[alone.valid], atol=1e-5, rtol=1e-5
            )


@KINDS
def test_padding_is_never_heard(kind: str) -> None:
    encoder = build_encoder(_config(kind)).eval()
    features = _features(torch.tensor([[64, 96], [50, 40]]))
    spoilt = features.tokens.masked_fill(~features.valid[..., None], 50.0)
    before = encoder(features).tokens[features.valid]
    torch.testing.assert_close(
        encoder(features.with_tokens(spoilt)).tokens[features.valid], before, atol=1e-5, rtol=1e-5
    )


@KINDS
def test_checkpointing_changes_no_gradient(kind: str) -> None:
    gradients, kept = [], []
    features = _features(torch.tensor([[64, 96], [50, 40]]))
    for checkpoint_from in (0, 97, 96):
        torch.manual_seed(1)
        encoder = build_encoder(_config(kind, checkpoint_from=checkpoint_from)).train()
        tokens, count = _kept_while(encoder, features)
        kept.append(count)
        torch.autograd.backward(tokens.square().sum())
        gradients.append([p.grad for p in encoder.parameters()])
    assert kept[0] == kept[1] > 2 * kept[2]
    for plain, made_anew in zip(gradients[0], gradients[2], strict=True):
        assert plain is not None
        torch.testing.assert_close(plain, made_anew)


def _kept_while(encoder: torch.nn.Module, features: FeatureTokens) -> tuple[Tensor, int]:
    """The encoder's tokens, and how many numbers it keeps for the backward pass."""
    counts: list[int] = []

    def count(kept: Tensor) -> Tensor:
        counts.append(kept.numel())
        return kept

    with torch.autograd.graph.saved_tensors_hooks(count, lambda kept: kept):
        tokens: Tensor = encoder(features).tokens
    return tokens, sum(counts)


@KINDS
@pytest.mark.parametrize("changes", [{"encoder_layers": 0}, {"extra_level": False}])
def test_every_trainable_parameter_has_a_gradient(kind: str, changes: dict[str, object]) -> None:
    encoder = build_encoder(_config(kind, **changes))
    levels = encoder.config.levels
    maps = [torch.randn(1, 32, 8 // 2**level, 16 // 2**level) for level in range(levels)]
    output = encoder(join_levels(maps, STRIDES[:levels], torch.tensor([[64, 128]])))
    output.tokens.sum().backward() if any(p.requires_grad for p in encoder.parameters()) else None
    assert all(p.grad is not None for p in encoder.parameters() if p.requires_grad)


def test_a_layer_works_on_few_tokens_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = build_encoder(_config("deformable")).eval()
    features = _features(torch.tensor([[64, 96], [50, 40]]))
    with torch.no_grad():
        whole = encoder(features).tokens
        monkeypatch.setattr(module, "TOKENS_AT_ONCE", 34)
        torch.testing.assert_close(encoder(features).tokens, whole, atol=1e-6, rtol=1e-6)


@KINDS
def test_bf16_autocast_gives_near_features(kind: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(_config(kind)).eval()
    features = _features(torch.tensor([[64, 96]]))
    with torch.no_grad():
        exact = encoder(features).tokens
        with torch.autocast("cpu", torch.bfloat16):
            half = encoder(features).tokens
    assert (half - exact).abs().mean() < 0.02 * exact.abs().mean()
