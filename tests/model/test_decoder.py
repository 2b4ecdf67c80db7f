"""The self-attention layers against the library's own decoder layer, with its weights."""

import torch
from torch import Tensor, nn
from transformers import DeformableDetrConfig
from transformers.models.deformable_detr.modeling_deformable_detr import DeformableDetrDecoderLayer

from opendet.model.config import DetectorConfig
from opendet.model.decoder import DecoderLayer
from opendet.model.features import FeatureTokens, join_levels
from tests.model.worlds import build_detector

SHAPES = ((6, 8), (3, 4))
WIDTH, HEADS, POINTS = 32, 4, 3


def _library_layer() -> DeformableDetrDecoderLayer:
    torch.manual_seed(0)
    config = DeformableDetrConfig(
        d_model=WIDTH,
        decoder_attention_heads=HEADS,
        decoder_n_points=POINTS,
        num_feature_levels=len(SHAPES),
        decoder_ffn_dim=64,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        activation_function="relu",
    )
    layer = DeformableDetrDecoderLayer(config).eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.2)
    return layer


def _ours(library: DeformableDetrDecoderLayer) -> DecoderLayer:
    config = DetectorConfig(
        width=WIDTH, heads=HEADS, points=POINTS, feedforward=64, extra_level=False
    )
    two_levels = config.backbone.model_copy(update={"strides": (8, 16)})
    config = config.model_copy(update={"backbone": two_levels})
    layer = DecoderLayer(config, self_attention=True).eval()
    theirs = library.state_dict()
    projections = [f"self_attn.{name}_proj" for name in "qkv"]
    renamed = {
        "self_attention.in_proj_weight": torch.cat([theirs[f"{p}.weight"] for p in projections]),
        "self_attention.in_proj_bias": torch.cat([theirs[f"{p}.bias"] for p in projections]),
    }
    names = {
        "self_attention.out_proj": "self_attn.o_proj",
        "self_norm": "self_attn_layer_norm",
        "cross_attention.offsets": "encoder_attn.sampling_offsets",
        "cross_attention.weights": "encoder_attn.attention_weights",
        "cross_attention.values": "encoder_attn.value_proj",
        "cross_attention.output": "encoder_attn.output_proj",
        "cross_norm": "encoder_attn_layer_norm",
        "feedforward.layers.0": "mlp.fc1",
        "feedforward.layers.3": "mlp.fc2",
        "feedforward.norm": "final_layer_norm",
    }
    for ours, their in names.items():
        for part in ("weight", "bias"):
            renamed[f"{ours}.{part}"] = theirs[f"{their}.{part}"]
    layer.load_state_dict(renamed)
    return layer


def _memory(sizes_hw: Tensor) -> FeatureTokens:
    maps = [torch.randn(2, WIDTH, height, width) for height, width in SHAPES]
    return join_levels(maps, (8, 16), sizes_hw)


def test_equals_deformable_detr_s_layer() -> None:
    library = _library_layer()
    torch.manual_seed(1)
    memory = _memory(torch.tensor([[48, 64], [48, 64]]))
    queries, positions = torch.randn(2, 7, WIDTH), torch.randn(2, 7, WIDTH)
    references = torch.rand(2, 7, 4) * 0.5 + 0.25
    blocked = torch.zeros(2 * HEADS, 7, 7, dtype=torch.bool)
    with torch.no_grad():
        ours = _ours(library)(queries, positions, references, memory, blocked)
        theirs = library(
            queries,
            object_queries_position_embeddings=positions,
            reference_points=references[:, :, None].expand(-1, -1, len(SHAPES), -1),
            spatial_shapes=torch.tensor(SHAPES),
            spatial_shapes_list=list(SHAPES),
            level_start_index=torch.tensor([0, 48]),
            encoder_hidden_states=memory.tokens,
        )
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_blocked_queries_are_not_seen() -> None:
    layer = _ours(_library_layer())
    torch.manual_seed(1)
    memory = _memory(torch.tensor([[48, 64], [48, 64]]))
    queries, positions = torch.randn(2, 7, WIDTH), torch.randn(2, 7, WIDTH)
    references = torch.rand(2, 7, 4) * 0.5 + 0.25
    blocked = torch.zeros(2 * HEADS, 7, 7, dtype=torch.bool)
    blocked[:, :3, 3:] = True
    changed = queries.clone()
    changed[:, 3:] += 1.0
    with torch.no_grad():
        before = layer(queries, positions, references, memory, blocked)
        after = layer(changed, positions, references, memory, blocked)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert (before[:, 3:] - after[:, 3:]).abs().max() > 0.1


def test_boxes_look_forward_twice_and_references_stop_the_gradient() -> None:
    """A layer's box teaches its own head and the one before, not those further back; queries teach
    neither the proposals' boxes nor their tokens."""
    detector = build_detector().train()
    output = detector(torch.rand(1, 3, 64, 64), torch.tensor([[64, 64]]))
    first, second, third = output.layers

    def reaches(outputs: Tensor, module: nn.Module) -> bool:
        weights = list(module.parameters())
        grads = torch.autograd.grad(outputs.sum(), weights, retain_graph=True, allow_unused=True)
        return any(grad is not None and bool(grad.any()) for grad in grads)

    heads, selection = detector.decoder.box_heads, detector.selection
    assert reaches(second.boxes_cxcywh, heads[0])
    assert reaches(third.boxes_cxcywh, heads[1])
    assert not reaches(third.boxes_cxcywh, heads[0])
    assert not reaches(third.logits, heads[0])
    assert reaches(output.proposals.boxes_cxcywh, selection.box_head)
    assert not reaches(first.boxes_cxcywh, selection.box_head)
    assert reaches(first.logits, selection.content)
    assert not reaches(first.logits, selection.project)
