from pathlib import Path

import pytest
import torch
from lacking import lacking
from timm.models import FeatureListNet
from timm.models.swin_transformer import SwinTransformer
from torch import nn
from transformers import BertConfig, MMGroundingDinoConfig, SwinConfig
from transformers import MMGroundingDinoForObjectDetection as GroundingDino

from opendet.model.config import DetectorConfig
from opendet.model.detector import OpenDetector
from opendet.model.encoder import Encoder
from opendet.model.encoder_choice import build_encoder
from opendet.model.features import FeatureTokens, join_levels
from opendet.model.grounding_import import import_grounding_dino
from opendet.model.neck import Neck
from opendet.model.swin_windows import pad_before_shifts
from opendet.model.timm_backbone import TimmBackbone
from tests.model.worlds import TINY_DETECTOR, build_detector

DEPTHS, HEADS, WINDOW = [1, 1, 2, 2], [1, 2, 2, 4], 3
CONFIG = TINY_DETECTOR.model_copy(
    update={"width": 256, "heads": 8, "points": 4, "encoder_layers": 2, "cross_layers": 1}
)


class SmallSwin(TimmBackbone):
    """timm's Swin in the size that a test affords."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        swin = SwinTransformer(
            embed_dim=16,
            depths=tuple(DEPTHS),
            num_heads=tuple(HEADS),
            window_size=WINDOW,
            strict_img_size=False,
            always_partition=True,
        )
        self.model = FeatureListNet(
            swin, out_indices=(1, 2, 3), output_fmt="NHWC", flatten_sequential=True
        )
        pad_before_shifts(self.model)
        self.checkpoint_from, self.channels_last = 0, True
        self.channels = (32, 64, 128)
        self.pyramid = nn.Identity()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in self.channels)


def _detector(config: DetectorConfig = CONFIG) -> OpenDetector:
    detector = build_detector(config)
    detector.backbone = SmallSwin()
    detector.neck = Neck(detector.backbone.channels, width=256, extra_level=True)
    detector.train(False)
    return detector


@pytest.fixture(scope="module")
def grounding_dino(tmp_path_factory: pytest.TempPathFactory) -> tuple[GroundingDino, str]:
    torch.manual_seed(0)
    swin = SwinConfig(
        embed_dim=16,
        depths=DEPTHS,
        num_heads=HEADS,
        window_size=WINDOW,
        image_size=64,
    )
    swin.set_output_features_output_indices(out_indices=[2, 3, 4], out_features=None)
    text = BertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        vocab_size=64,
    )
    config = MMGroundingDinoConfig(
        backbone_config=swin,
        text_config=text,
        encoder_ffn_dim=CONFIG.feedforward,
        decoder_ffn_dim=CONFIG.feedforward,
        encoder_layers=2,
        decoder_layers=3,
        num_queries=5,
    )
    model = GroundingDino(config)
    model.train(False)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    folder = str(tmp_path_factory.mktemp("grounding_dino"))
    model.save_pretrained(folder)
    return model, folder


def test_the_backbones_maps_and_the_encoders_tokens(
    grounding_dino: tuple[GroundingDino, str],
) -> None:
    model, folder = grounding_dino
    detector = _detector()
    report = import_grounding_dino(detector, folder)
    images = torch.randn(1, 3, 192, 256)
    with torch.no_grad():
        maps = detector.backbone(images)
        theirs = model.model.backbone.conv_encoder(images, torch.ones(1, 192, 256))
        for ours, (other, _) in zip(maps, theirs, strict=True):
            torch.testing.assert_close(ours, other, atol=1e-4, rtol=1e-4)
        levels = detector.neck(maps)
        features = join_levels(levels, (8, 16, 32, 64), torch.tensor([[192, 256]]))
        tokens, positions = _their_encoder(model, features)
        assert isinstance(detector.encoder, Encoder)
        ours = detector.encoder.positions(features)
        torch.testing.assert_close(ours, positions, atol=1e-4, rtol=0)
        torch.testing.assert_close(detector.encoder(features).tokens, tokens, atol=1e-4, rtol=1e-4)
    untouched = {name.split(".")[0] for name in report.kept}
    assert not untouched & {"backbone", "neck", "encoder"}
    assert report.left["model.text_projection.weight"] == "the text side"
    assert "tensors loaded" in report.summary()


def _their_encoder(
    model: GroundingDino, features: FeatureTokens
) -> tuple[torch.Tensor, torch.Tensor]:
    """Their deformable layers one after the other, without the text; and their positions."""
    inner, parts = model.model, []
    for level, (height, width) in enumerate(features.shapes):
        mask = torch.ones(1, height, width, dtype=torch.bool)
        sine = inner.backbone.position_embedding(features.level(level), mask)
        parts.append(sine.flatten(2).transpose(1, 2) + inner.level_embed[level])
    positions, tokens = torch.cat(parts, 1), features.tokens
    references = inner.encoder.get_reference_points(features.shapes, torch.ones(1, 4, 2), "cpu")
    for layer in inner.encoder.layers:
        tokens, _ = layer.deformable_layer(
            tokens,
            attention_mask=features.valid,
            position_embeddings=positions,
            reference_points=references,
            spatial_shapes=torch.tensor(features.shapes),
            spatial_shapes_list=list(features.shapes),
            level_start_index=torch.zeros(4),
        )
    return tokens, positions


def test_the_decoders_layers_where_there_are_such(
    grounding_dino: tuple[GroundingDino, str],
) -> None:
    model, folder = grounding_dino
    detector = _detector()
    report = import_grounding_dino(detector, folder)
    ours, theirs = detector.state_dict(), model.state_dict()
    query = "decoder.layers.1.self_attn.query.weight"
    joined = ours["decoder.layers.1.self_attention.in_proj_weight"]
    assert torch.equal(joined[:256], theirs[f"model.{query}"])
    key = theirs["model.decoder.layers.1.self_attn.key.weight"]
    assert torch.equal(joined[256:512], key)
    assert "no decoder.layers.0.self_attention" in report.left[f"model.{query.replace('1', '0')}"]
    assert torch.equal(
        ours["decoder.box_heads.2.layers.4.weight"],
        theirs["model.decoder.bbox_embed.2.layers.2.weight"],
    )
    assert set(report.left) <= set(theirs)
    assert set(report.loaded).isdisjoint(report.kept)


def test_a_hybrid_encoder_and_other_widths_are_left(
    grounding_dino: tuple[GroundingDino, str],
) -> None:
    _, folder = grounding_dino
    hybrid = CONFIG.model_copy(update={"encoder": "hybrid"})
    detector = _detector(hybrid)
    before = {k: v.clone() for k, v in detector.encoder.state_dict().items()}
    report = import_grounding_dino(detector, folder)
    assert "the encoder is hybrid" in report.left.values()
    assert all(torch.equal(v, before[k]) for k, v in detector.encoder.state_dict().items())
    narrow = _detector()
    narrow.encoder = build_encoder(CONFIG.model_copy(update={"feedforward": 8}))
    left = import_grounding_dino(narrow, folder).left
    name = "model.encoder.layers.0.deformable_layer.fc1.weight"
    assert left[name] == "shape (32, 256), here (8, 256)"


def test_what_is_no_grounding_dino_is_one_clear_line(
    grounding_dino: tuple[GroundingDino, str], tmp_path: Path
) -> None:
    less = lacking(Path(grounding_dino[1]), tmp_path / "less", "model.level_embed")
    BertConfig().save_pretrained(tmp_path)
    cases = {
        str(less): "its weights lack 1 tensors, as model.level_embed",
        str(tmp_path / "nowhere"): "is no folder, and no hub has it",
        str(tmp_path): "holds a bert",
        str(Path(__file__).parent): "cannot be read as a Grounding DINO",
    }
    detector = build_detector()
    for path, message in cases.items():
        with pytest.raises(ValueError, match=message) as caught:
            import_grounding_dino(detector, path)
        assert "\n" not in str(caught.value)
