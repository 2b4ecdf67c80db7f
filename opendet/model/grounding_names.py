"""What a Grounding DINO's tensors are called here."""

import re
from collections.abc import Callable

SWIN = r"model\.backbone\.conv_encoder\.model\.swin\."
BLOCK = SWIN + r"encoder\.layers\.(\d+)\.blocks\.(\d+)\."
OUR_BLOCK = r"backbone.model.layers_\1.blocks.\2."
ENCODER = r"model\.encoder\.layers\.(\d+)\.deformable_layer\."
DECODER = r"model\.decoder\.layers\.(\d+)\."

Rule = tuple[str, str | Callable[[re.Match[str]], str]]


def _attention_rules(theirs: str, ours: str) -> list[Rule]:
    return [
        (theirs + r"sampling_offsets\.", ours + "offsets."),
        (theirs + r"attention_weights\.", ours + "weights."),
        (theirs + r"value_proj\.", ours + "values."),
        (theirs + r"output_proj\.", ours + "output."),
    ]


def _perceptron_rule(theirs: str, ours: str) -> Rule:
    """Ours counts the activations between its linear layers."""
    pattern = theirs + r"layers\.(\d+)\."
    return pattern, lambda m: f"{m.expand(ours)}layers.{2 * int(m[m.lastindex or 0])}."


RULES: list[Rule] = [
    (SWIN + r"embeddings\.patch_embeddings\.projection\.", "backbone.model.patch_embed.proj."),
    (SWIN + r"embeddings\.norm\.", "backbone.model.patch_embed.norm."),
    (BLOCK + r"attention\.([qkv])_proj\.(\w+)", OUR_BLOCK + r"attn.qkv.\4@\3"),
    (BLOCK + r"attention\.o_proj\.", OUR_BLOCK + "attn.proj."),
    (BLOCK + r"attention\.relative_position_bias\.", OUR_BLOCK + "attn."),
    (BLOCK + r"layernorm_before\.", OUR_BLOCK + "norm1."),
    (BLOCK + r"layernorm_after\.", OUR_BLOCK + "norm2."),
    (BLOCK + r"mlp\.", OUR_BLOCK + "mlp."),
    # they merge patches after a stage, timm before the next one
    (
        SWIN + r"encoder\.layers\.(\d+)\.downsample\.",
        lambda m: f"backbone.model.layers_{int(m[1]) + 1}.downsample.",
    ),
    (
        r"model\.backbone\.conv_encoder\.model\.hidden_states_norms\.stage(\d+)\.",
        lambda m: f"backbone.norms.stride{2 ** (int(m[1]) + 1)}.",
    ),
    (r"model\.input_proj_vision\.(\d+)\.", r"neck.level\1."),
    (r"model\.level_embed$", "encoder.level_embedding"),
    *_attention_rules(ENCODER + r"self_attn\.", r"encoder.layers.\1.attention."),
    (ENCODER + r"self_attn_layer_norm\.", r"encoder.layers.\1.norm."),
    (ENCODER + r"fc1\.", r"encoder.layers.\1.feedforward.layers.0."),
    (ENCODER + r"fc2\.", r"encoder.layers.\1.feedforward.layers.3."),
    (ENCODER + r"final_layer_norm\.", r"encoder.layers.\1.feedforward.norm."),
    (r"model\.enc_output\.", "selection.project.0."),
    (r"model\.enc_output_norm\.", "selection.project.1."),
    _perceptron_rule(r"model\.encoder_output_bbox_embed\.", "selection.box_head."),
    (
        DECODER + r"self_attn\.(query|key|value)\.(\w+)",
        r"decoder.layers.\1.self_attention.in_proj_\3@\2",
    ),
    (DECODER + r"self_attn\.out_proj\.", r"decoder.layers.\1.self_attention.out_proj."),
    (DECODER + r"self_attn_layer_norm\.", r"decoder.layers.\1.self_norm."),
    *_attention_rules(DECODER + r"encoder_attn\.", r"decoder.layers.\1.cross_attention."),
    (DECODER + r"encoder_attn_layer_norm\.", r"decoder.layers.\1.cross_norm."),
    (DECODER + r"fc1\.", r"decoder.layers.\1.feedforward.layers.0."),
    (DECODER + r"fc2\.", r"decoder.layers.\1.feedforward.layers.3."),
    (DECODER + r"final_layer_norm\.", r"decoder.layers.\1.feedforward.norm."),
    (r"model\.decoder\.layer_norm\.", "decoder.norm."),
    _perceptron_rule(r"model\.decoder\.reference_points_head\.", "decoder.position_head."),
    _perceptron_rule(r"model\.decoder\.bbox_embed\.(\d+)\.", r"decoder.box_heads.\1."),
]
"""Their name's beginning and ours; `@` marks a part of what is one tensor here."""

REASONS = {
    r"^bbox_embed": "the same tensor as the decoder's",
    r"text|fusion": "the text side",
    r"class_embed": "scores by text",
    r"query_position": "learned queries: here they come from the image",
}


def our_name(theirs: str) -> str:
    """The detector's name of the tensor, empty where it has none.

    Norms are named by their stride and the neck's blocks by their level, which a detector's own
    levels then number; what follows an `@` is the part of a joined tensor.
    """
    for pattern, replacement in RULES:
        if re.match(pattern, theirs):
            return re.sub(pattern, replacement, theirs, count=1)
    return ""


def why_nameless(theirs: str) -> str:
    """What a tensor without a counterpart is for."""
    found = (reason for pattern, reason in REASONS.items() if re.search(pattern, theirs))
    return next(found, "no such part here")
