"""How many requests go into a batch: an estimate from the free memory and from what one request takes.

If memory runs out all the same, `inference.assess` halves the batch.
"""

from __future__ import annotations

from typing import Any

from qinsight_cli.core.engines import AT_A_TIME, Decoding
from qinsight_cli.core.models.memory import free_bytes

SMALL = 100_000_000  # weights; a smaller network spends more time between its layers than in them
MOST_SMALL, MOST_ON_CPU, MOST = 32, 8, 256  # Ctrl-C waits for the batch, so a batch must not take long
FILLED = 0.6  # share of the free memory that a batch may take
WORDS = 512  # tokens of a prompt without its pictures
PIXEL = 24  # bytes of an input pixel: three float32, for two frames


def requests_at_a_time(network: Any, largest: int, pictures: int, decoding: Decoding) -> int:
    """largest: the most pixels that the network sees of one picture; pictures: how many a request has."""
    small = sum(weight.numel() for weight in network.parameters()) < SMALL
    devices = {weight.device for weight in network.parameters() if not weight.is_meta}
    on_cpu = all(device.type == "cpu" for device in devices)
    most = (MOST_SMALL if small else MOST_ON_CPU) if on_cpu else MOST
    free = [count for device in devices if (count := free_bytes(device)) is not None]
    if not free:
        return most if on_cpu else AT_A_TIME
    return max(1, min(most, int(min(free) * FILLED) // bytes_of_a_request(network, largest, pictures, decoding)))


def bytes_of_a_request(network: Any, largest: int, pictures: int, decoding: Decoding) -> int:
    """The pixels, the key-value cache of every sample, and the activations of one layer in each half of the network."""
    config, vision = network.config.text_config, network.config.vision_config
    item = network.dtype.itemsize
    pixels = pictures * largest
    patches = pixels // vision.patch_size**2
    prompt = patches // vision.spatial_merge_size**2 + WORDS
    return (
        PIXEL * pixels
        + item * patches * _width(vision)
        + item * prompt * _width(config)
        + 4 * prompt**2  # the mask
        + cache_bytes(config, item, prompt)
        + cache_bytes(config, item, prompt + decoding.max_new_tokens) * decoding.samples
    )


def cache_bytes(config: Any, item: int, tokens: int) -> int:
    """Bytes of the keys and values of so many tokens in all layers of a decoder."""
    size = config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * config.num_key_value_heads * size * item * tokens


def _width(config: Any) -> int:
    """Activations per token in one layer: residual, queries, keys and values, and three of the MLP."""
    return 6 * int(config.hidden_size) + 3 * int(getattr(config, "intermediate_size", 0) or 4 * config.hidden_size)
