"""What can be set of the detector and of its namer. Light to import: no torch here."""

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from opendet.section import Section


class BackboneConfig(Section):
    """The image's features."""

    name: str = "swin_tiny_patch4_window7_224"
    """`tiny` for a small ConvNet of our own, else a timm name that can give feature maps."""
    pretrained: bool = False
    """Fetch timm's weights; needs the network or a filled cache."""
    weights: str = ""
    """Weights of that timm model in a local safetensors file, or in a folder that holds one."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Stochastic depth: the chance that the last block is left out; GenerateU's Swin-T has 0.3."""
    strides: tuple[int, ...] = (8, 16, 32)
    """Strides of the maps that the neck receives, ascending, each twice the one before."""
    tiny_channels: tuple[PositiveInt, ...] = (32, 64, 96, 128)
    """Channels of the tiny backbone at strides 4, 8, 16, 32."""

    @model_validator(mode="after")
    def _strides_double(self) -> Self:
        doubles = all(b == 2 * a for a, b in zip(self.strides, self.strides[1:], strict=False))
        if not self.strides or self.strides[0] not in (4, 8, 16, 32) or not doubles:
            raise ValueError(
                f"strides {self.strides}: begin at 4, 8, 16 or 32 and double at each step"
            )
        if self.pretrained and self.weights:
            raise ValueError("pretrained and weights are both set: keep one of them")
        return self


class PrototypeHeadConfig(Section):
    """DeCo-DETR's head: what a query shows, in the terms of a prototype pool (spec/deco_detr.md
    B.3). It reads queries and gives nothing back to them."""

    reads: Literal["query", "prompt"] = "query"
    """DeCo-DETR's reads the query itself; `prompt` reads what VLD-M, or a glimpse, makes of it: for
    detectors whose queries have not learned yet what things look like."""
    levels: Literal["both", "coarse", "fine"] = "both"
    """Which prototypes it knows."""
    hidden: int = Field(default=0, ge=0)
    """Hidden width of the query's projection; 0 takes the prototypes' own width."""
    temperature: float = Field(default=0.07, gt=0)
    """alpha: the cosines with prototypes are divided by it before the softmax."""
    residual: bool = True
    """Whether an MLP of the projected query is added to the weighted prototypes."""
    predictor_layers: int = Field(default=2, ge=1)
    """Cross-attention layers of the semantic predictor, from queries to class vectors."""
    predictor_heads: PositiveInt = 8
    """Attention heads; they divide the prototypes' width."""
    gradient: Literal["isolated", "shared"] = "isolated"
    """PD-DuGi: the semantic losses send no gradient into the detector; `shared` lets them."""


class DetectorConfig(Section):
    """Open-Det's detector (spec/open_det.md A.2); the defaults are the paper's sizes."""

    backbone: BackboneConfig = BackboneConfig()
    width: int = Field(default=256, ge=1, le=4096)
    """Channels of tokens and queries; a multiple of `heads` and of 4."""
    extra_level: bool = True
    """One more level, at twice the coarsest stride."""
    encoder: Literal["deformable", "hybrid"] = "deformable"
    """Every token attends to points of all levels (the paper's), or those of the coarsest levels
    attend to one another and convolutions carry what they learn to the finer ones: faster."""
    encoder_layers: int = Field(default=6, ge=0)
    """Attention layers of the encoder, of either kind."""
    checkpoint_from: int = Field(default=640, ge=0)
    """Gradient checkpointing of the backbone and of the encoder's layers from this longest padded
    side in pixels: less memory for a third more time; 0 does without."""
    cross_layers: int = Field(default=4, ge=0)
    """ODR: decoder layers without self-attention, before the others, matched one to many."""
    self_layers: int = Field(default=2, ge=0)
    """Decoder layers with self-attention, matched one to one."""
    heads: PositiveInt = 8
    """Attention heads, of self-attention and of deformable attention."""
    points: PositiveInt = 4
    """Sampling points of a head on a level."""
    feedforward: PositiveInt = 2048
    """Hidden width of the feed-forward blocks."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    queries: PositiveInt = 300
    """Queries in training; the most that a test image may have."""
    queries_min: PositiveInt = 10
    """The fewest queries of a test image."""
    selection: Literal["threshold", "topk"] = "threshold"
    """At test: the queries above `selection_threshold`, or as many as in training."""
    selection_threshold: float = Field(default=0.05, ge=0, le=1)
    """The paper's lambda: the probability above which a token becomes a query at test."""
    denoising_pairs: int = Field(default=100, ge=0)
    """Anchor denoising in training: pairs of a box noised a little and one noised too much, for
    each image at most; 0 leaves it out."""
    denoising_scale: float = Field(default=0.4, gt=0, le=1)
    """Largest noise of the little noised boxes, in half sides."""
    iou_head: bool = False
    """Each layer also predicts its boxes' IoU, which multiplies the score: GenerateU's."""
    aligner: Literal["none", "vision_to_language", "bidirectional"] = "bidirectional"
    """How queries are compared with the image's names in training: BVLA-M is bidirectional."""
    align_scale: Literal["learned", "none"] = "learned"
    """The similarity becomes a logit by a learned scale and bias, or as it is."""
    prompt: Literal["query", "distiller"] = "distiller"
    """A prompt is a projection of the query alone, or VLD-M's: of the query and of what it reads
    around its box in the backbone's and the encoder's features."""
    distiller_gate: bool = True
    """VLD-M's feed-forward block reweights what was read; off, it is added to it."""
    distiller_hidden: PositiveInt = 1024
    """Hidden width of that block."""
    semantics: Literal["none", "prototypes"] = "none"
    """`prototypes`: a head that names queries by the build's prototype pool, beside the namer."""
    prototypes: PrototypeHeadConfig = PrototypeHeadConfig()
    """That head."""
    glimpse_side: int = Field(default=0, ge=0)
    """A prompt also looks at the image's own pixels, sampled in its box on a grid of this side; 0
    leaves it out. For detectors without pretrained weights."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.width % self.heads or self.width % 4:
            raise ValueError(
                f"width {self.width}: must be a multiple of heads ({self.heads}) and of 4"
            )
        if self.cross_layers + self.self_layers < 1:
            raise ValueError("the decoder needs a layer: raise cross_layers or self_layers")
        if self.queries_min > self.queries:
            raise ValueError(f"queries_min {self.queries_min} is above queries {self.queries}")
        return self

    @property
    def levels(self) -> int:
        return len(self.backbone.strides) + self.extra_level

    @property
    def layers(self) -> int:
        return self.cross_layers + self.self_layers


class NamerConfig(Section):
    """The T5 that turns a prompt into a name."""

    t5: str = "google/flan-t5-base"
    """`tiny` for one built here, `none` for a detector that writes no names (prototypes and lists
    still have some), else a Hugging Face name or a folder."""
    t5_revision: str | None = None
    """Commit, branch or tag on the hub; without one a training keeps to the commit that it began
    with."""
    prompt_width: int = Field(default=0, ge=0)
    """Width of prompts and text vectors; 0 takes the T5's own, another is projected to it."""
    max_new_tokens: PositiveInt = 12
    """The longest name, in tokens; longer ones are cut in training too."""
    beams: PositiveInt = 3
    """Names per object, found by beam search; 1 decodes greedily."""
    head: Literal["full", "lora"] = "lora"
    """`lora`: the head's matrix is frozen, a correction of low rank is trained; `full`: all of it.
    A `tiny` T5's is frozen after its lesson (`train.warmup`); without one give it `full`."""
    lora_rank: PositiveInt = 16
    """Rank of the head's correction."""
    lora_alpha: float = Field(default=32.0, gt=0)
    """The correction is scaled by lora_alpha / lora_rank."""
    unfreeze_head_at: float | None = Field(default=None, ge=0, lt=1)
    """Share of the run after which the correction is added to the head and all of it is trained;
    never by default, 0.67 as the paper's "initial training stage" may be read."""
    unfrozen_head_lr_scale: float = Field(default=0.1, gt=0)
    """Learning rate of the unfrozen head, as a share of the namer's."""
    tiny_width: PositiveInt = 64
    tiny_feedforward: PositiveInt = 128
    tiny_layers: PositiveInt = 2
    """Layers of the encoder and of the decoder each."""
    tiny_heads: PositiveInt = 4
    tiny_vocabulary: int = Field(default=2048, ge=300)
    """The most tokens of the tiny tokenizer, the 256 bytes among them."""
