"""A model folder in the hub's layout of Qwen2.5-VL-7B, small and with random weights, and the hub's cache around it.

The configuration, the names of the weights and the ids of the special tokens are those of the published files; the
tokenizer is byte-level and made here. With QINSIGHT_QWEN naming a folder of the published tokenizer files, those
are used instead.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

BASE_TOKENS = 151_643  # in the published vocabulary, before the special ones
VOCABULARY = 152_064  # rows of the embedding: more than there are tokens
HIDDEN, LAYERS, INNER = 128, 2, 96  # one head of 128, so that the published mrope_section fits
VISION_HIDDEN, VISION_LAYERS, VISION_INNER = 32, 2, 64
# In the order of their ids, from 151643; the first 14 are special.
SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>"),
    *("<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)
ADDED = (
    *("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    *("<|repo_name|>", "<|file_sep|>"),
)
CONFIG: dict[str, Any] = {
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
    "vision_token_id": 151654,
    "image_token_id": 151655,
    "video_token_id": 151656,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "initializer_range": 0.02,
    "intermediate_size": INNER,
    "max_position_embeddings": 128000,
    "max_window_layers": LAYERS,
    "model_type": "qwen2_5_vl",
    "num_attention_heads": 1,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": 1,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.41.2",
    "use_cache": True,
    "use_sliding_window": False,
    "vision_config": {
        "depth": VISION_LAYERS,
        "hidden_act": "silu",
        "hidden_size": VISION_HIDDEN,
        "intermediate_size": VISION_INNER,
        "num_heads": 2,
        "in_chans": 3,
        "out_hidden_size": HIDDEN,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "spatial_patch_size": 14,
        "window_size": 112,
        "fullatt_block_indexes": [1],
        "tokens_per_second": 2,
        "temporal_patch_size": 2,
    },
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "vocab_size": VOCABULARY,
}
PREPROCESSOR = {
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen2_5_VLProcessor",
}
GENERATION = {
    "bos_token_id": 151643,
    "pad_token_id": 151643,
    "do_sample": True,
    "eos_token_id": [151645, 151643],
    "repetition_penalty": 1.05,
    "temperature": 0.000001,
}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")


def build(folder: Path, shards: int = 3) -> Path:
    """Write the folder: configuration, tokenizer, processor, bfloat16 weights in this many files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("config.json", CONFIG),
        ("preprocessor_config.json", PREPROCESSOR),
        ("generation_config.json", GENERATION),
        ("chat_template.json", {"chat_template": _template()}),
    ):
        (folder / name).write_text(json.dumps(content, indent=2))
    published = os.environ.get("QINSIGHT_QWEN")
    if published:
        for name in (*TOKENIZER_FILES, "preprocessor_config.json", "chat_template.json"):
            if (Path(published) / name).is_file():
                shutil.copy(Path(published) / name, folder / name)
    else:
        _tokenizer(folder)
    _weights(folder, shards)
    return folder


def put_in_cache(cache: Path, repo: str, source: Path, subfolder: str, commit: str = "0" * 40) -> None:
    """Lay a model folder out as the hub's cache does: blobs, refs, and a snapshot of links to them."""
    top = cache / f"models--{repo.replace('/', '--')}"
    snapshot = top / "snapshots" / commit / subfolder
    for directory in (top / "blobs", top / "refs", snapshot):
        directory.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        with path.open("rb") as file:
            blob = top / "blobs" / hashlib.file_digest(file, "sha256").hexdigest()
        shutil.copy(path, blob)
        (snapshot / path.name).symlink_to(blob)
    (top / "refs" / "main").write_text(commit)


def shapes() -> dict[str, tuple[int, ...]]:
    """The hub's names of all weights, with their shapes."""
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCABULARY, HIDDEN),
        "model.norm.weight": (HIDDEN,),
        "lm_head.weight": (VOCABULARY, HIDDEN),
        "visual.patch_embed.proj.weight": (VISION_HIDDEN, 3, 2, 14, 14),
        "visual.merger.ln_q.weight": (VISION_HIDDEN,),
        "visual.merger.mlp.0.weight": (4 * VISION_HIDDEN, 4 * VISION_HIDDEN),
        "visual.merger.mlp.0.bias": (4 * VISION_HIDDEN,),
        "visual.merger.mlp.2.weight": (HIDDEN, 4 * VISION_HIDDEN),
        "visual.merger.mlp.2.bias": (HIDDEN,),
    }
    for layer in (f"model.layers.{number}." for number in range(LAYERS)):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            found[f"{layer}{norm}.weight"] = (HIDDEN,)
        for name in "qkv":
            found[f"{layer}self_attn.{name}_proj.weight"] = (HIDDEN, HIDDEN)
            found[f"{layer}self_attn.{name}_proj.bias"] = (HIDDEN,)
        found[f"{layer}self_attn.o_proj.weight"] = (HIDDEN, HIDDEN)
        found[f"{layer}mlp.gate_proj.weight"] = found[f"{layer}mlp.up_proj.weight"] = (INNER, HIDDEN)
        found[f"{layer}mlp.down_proj.weight"] = (HIDDEN, INNER)
    for block in (f"visual.blocks.{number}." for number in range(VISION_LAYERS)):
        found[f"{block}norm1.weight"] = found[f"{block}norm2.weight"] = (VISION_HIDDEN,)
        for name, out, into in (
            ("attn.qkv", 3 * VISION_HIDDEN, VISION_HIDDEN),
            ("attn.proj", VISION_HIDDEN, VISION_HIDDEN),
            ("mlp.gate_proj", VISION_INNER, VISION_HIDDEN),
            ("mlp.up_proj", VISION_INNER, VISION_HIDDEN),
            ("mlp.down_proj", VISION_HIDDEN, VISION_INNER),
        ):
            found[f"{block}{name}.weight"], found[f"{block}{name}.bias"] = (out, into), (out,)
    return found


def _weights(folder: Path, shards: int) -> None:
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(7)
    weights = {}
    for name, shape in shapes().items():
        value = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            value = 0.1 * value + (0.0 if name.endswith("bias") else 1.0)
        elif "embed_tokens" not in name:  # large enough that the text depends on everything before it
            value *= 3.0 / value[0].numel() ** 0.5
        weights[name] = value.bfloat16()
    places = {}
    for part in range(shards):
        file = f"model-{part + 1:05d}-of-{shards:05d}.safetensors"
        chosen = {name: weights[name] for name in sorted(weights)[part::shards]}
        save_file(chosen, folder / file, metadata={"format": "pt"})
        places.update(dict.fromkeys(chosen, file))
    size = sum(value.numel() * 2 for value in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))


def _tokenizer(folder: Path) -> None:
    """Bytes, then tokens that no text becomes, up to the ids of the special tokens; no merges."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(f"Ġw{number}" for number in range(BASE_TOKENS - len(letters)))]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in ADDED])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    added = {
        str(BASE_TOKENS + number): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": token in SPECIAL,
        }
        for number, token in enumerate((*SPECIAL, *ADDED))
    }
    settings = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "additional_special_tokens": list(SPECIAL[1:]),
        "bos_token": None,
        "chat_template": _template(),
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))


def _template() -> str:
    import trl

    return (Path(trl.__file__).parent / "chat_templates" / "qwen2_5_vl.jinja").read_text(encoding="utf-8")
