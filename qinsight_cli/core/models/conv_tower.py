"""The embedded model's own vision module: a convolutional encoder in the place of Qwen2.5-VL's vision tower.

It takes the same flattened patches as the tower that it replaces, puts the pictures together again, runs the trunk
(`conv_trunk`), and gives one token for each 32 x 32 pixels: patch 16 and merge 2 fit its stride. A token carries what
every stage sees inside its cell, since damage shows in the early stages and content in the late ones.

The decoder and all else are transformers' classes. `register` makes both known to transformers' Auto classes.
Imports torch and transformers: import this module only when a model is at hand.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig, Qwen2_5_VLTextConfig

from qinsight_cli.core.models.conv_trunk import (
    BLOCKS,
    CELL,
    STAGE_ENDS,
    STAGES,
    STATISTICS,
    Trunk,
    cell_statistics,
    in_cells,
)

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
        return in_cells(cell_statistics(self.trunk(pictures), STAGES))

    def frozen_cells(self, pictures: Tensor) -> Tensor:
        """(count, 3, height, width) -> (count, cells, frozen_width): the statistics of the stages that end within the
        frozen blocks and, where blocks follow, what these are given of each cell."""
        stages, last = self.trunk.start(pictures, self.trunk.frozen)
        parts = cell_statistics(stages, STAGES[: len(stages)])
        if self.trunk.frozen < len(BLOCKS):
            parts.append(functional.pixel_unshuffle(last, self._side))
        return in_cells(parts)

    @property
    def frozen_width(self) -> int:
        """Values of a cell of `frozen_cells`."""
        if self.trunk.frozen == len(BLOCKS):
            return STATISTICS
        return self._frozen_statistics + BLOCKS[self.trunk.frozen - 1][4] * self._side**2

    @property
    def _frozen_statistics(self) -> int:
        done = [stage for end, stage in zip(STAGE_ENDS, STAGES, strict=True) if end < self.trunk.frozen]
        return sum(channels * (2 if stride < CELL else 1) for channels, stride in done)

    @property
    def _side(self) -> int:
        """Values along the side of a cell, after the frozen blocks."""
        return CELL // (2 * math.prod(block[1] for block in BLOCKS[: self.trunk.frozen]))

    def finish(self, cells: Tensor, rows: int, columns: int) -> Tensor:
        """(count, cells, frozen_width) of one size -> (count, cells, STATISTICS): the blocks that are not frozen."""
        if self.trunk.frozen == len(BLOCKS):
            return cells
        known = self._frozen_statistics
        maps = cells[..., known:].transpose(1, 2).unflatten(2, (rows, columns))
        features = functional.pixel_shuffle(maps, self._side).contiguous(memory_format=torch.channels_last)
        stages, _ = self.trunk.go_on(features, self.trunk.frozen, len(BLOCKS))
        found = in_cells(cell_statistics(stages, STAGES[-len(stages) :]))
        return torch.cat([cells[..., :known], found], dim=-1)

    def tokens(self, statistics: Tensor) -> Tensor:
        """(..., STATISTICS) -> (..., out_hidden_size)."""
        normal = (statistics - self.center) * self.scale
        return self.narrow(functional.gelu(self.norm(self.widen(normal))))

    def forward(self, hidden_states: Tensor, grid_thw: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """hidden_states: (patches of all pictures, values per patch); grid_thw: (pictures, 3) patches in time, height
        and width. Pictures of one size are computed together, on a CPU a few at a time.

        Training on kept cells gives those, (cells of all pictures, frozen_width), in place of patches.
        """
        kept = bool(self.trunk.frozen) and hidden_states.shape[-1] == self.frozen_width
        rows = self.spatial_merge_size**2 if kept else 1  # patches in a row of hidden_states
        grids = grid_thw.tolist()
        pieces = hidden_states.split([frames * height * width // rows for frames, height, width in grids])
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, (_, height, width) in enumerate(grids):
            by_size.setdefault((height, width), []).append(index)
        found: list[Tensor | None] = [None] * len(grids)
        for (height, width), members in by_size.items():
            area = height * width * self.config.patch_size**2
            whole = kept or hidden_states.device.type != "cpu"
            most = len(members) if whole else max(1, AT_ONCE // area)
            for start in range(0, len(members), most):
                some = members[start : start + most]
                if kept:
                    sides = height // self.spatial_merge_size, width // self.spatial_merge_size
                    statistics = self.finish(torch.stack([pieces[index] for index in some]), *sides)
                else:
                    pictures = torch.cat([self.assemble(pieces[index], height, width) for index in some])
                    statistics = self.statistics(pictures)
                counts = [grids[index][0] for index in some]
                for index, part in zip(some, self.tokens(statistics).split(counts), strict=True):
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
