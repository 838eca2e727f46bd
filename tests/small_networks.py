"""Sizes and texts of the small random networks that tests build."""

from __future__ import annotations

from qinsight_cli.core.training.sft.new_model import Shape

CORPUS = (
    "<think> The photo is sharp, evenly lit and rich in colour, with fine texture in the foreground. </think>",
    "<think> Strong noise covers the flat areas, and the edges look soft. </think>",
    '<answer> {"rating": 3.42} </answer>',
    '<answer> {"distortion_class": "noise", "severity": "obvious"} </answer>',
)
# About 200 thousand weights. Pictures are resized to between 64x64 and 128x128 pixels, 4 to 16 image tokens.
SMALL = Shape(
    vocabulary=320,
    vision_depth=2,
    vision_hidden=32,
    vision_heads=2,
    vision_intermediate=64,
    full_attention=(1,),
    text_hidden=64,
    text_layers=2,
    text_heads=2,
    text_kv_heads=1,
    text_intermediate=128,
    min_pixels=64 * 64,
    max_pixels=128 * 128,
)
