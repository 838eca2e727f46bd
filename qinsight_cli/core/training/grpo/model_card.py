"""The model card of a trained model, written from its run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qinsight_cli.core.tasks import reward_titles
from qinsight_cli.core.training.grpo.recipe import GrpoRecipe


def model_card(
    recipe: GrpoRecipe, data: Sequence[Mapping[str, Any]], lines: Sequence[Mapping[str, Any]], steps: int, what: str
) -> str:
    """The card in Markdown. `lines` are those of metrics.jsonl; `what` names the weights, such as the last ones."""
    logged = [line for line in lines if "eval" not in line]
    evaluated = [line for line in lines if "eval" in line]
    shown = ("reward", *reward_titles(), "plcc", "srcc", "unread")
    parts = [
        "---\nlibrary_name: transformers\npipeline_tag: image-text-to-text\ntags: [image-quality-assessment]\n---\n",
        f"# {recipe.model}, trained by multi-task GRPO\n",
        f"{what} Trained with `qinsight train` on the tasks {', '.join(recipe.tasks)} for {steps:,} updates of "
        f"{recipe.total_batch} completions, {recipe.num_generations} to a prompt"
        + (f", as a LoRA adapter of rank {recipe.lora_rank}, merged" if recipe.lora_rank else "")
        + f". Learning rate {recipe.learning_rate:g} to {recipe.final_learning_rate:g}, KL weight {recipe.beta:g}, "
        f"score threshold {recipe.score_epsilon:g}, seed {recipe.seed}.\n",
        "Use it: `qinsight score PHOTOS --model THIS_FOLDER`\n",
        "## Data\n",
        "\n".join(
            f"- {one['data']}, {one['split']}: {one['rows']:,} rows, manifest SHA-256 {one['sha256']}" for one in data
        )
        + "\n",
    ]
    if logged:
        tenth = max(1, len(logged) // 10)
        names = [name for name in shown if any(line.get(name) is not None for line in logged)]
        first, last = _means(logged[:tenth], names), _means(logged[-tenth:], names)
        parts += [
            f"## Sampled completions while training (first and last {tenth} logged updates)\n",
            _table(first, last),
        ]
    if len(evaluated) > 1:
        ends = (evaluated[0], evaluated[-1])
        rows, (begin, end) = ends[0]["eval"]["rows"], (line["step"] for line in ends)
        parts.append(f"## Held-out rows ({rows:.0f}, greedy), update {begin} and {end}\n")
        parts.append(_table(*(_means([line["eval"]], shown) for line in ends)))
    return "\n".join(parts)


def _means(lines: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, float]:
    found = {name: [line[name] for line in lines if line.get(name) is not None] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items() if values}


def _table(first: Mapping[str, float], last: Mapping[str, float]) -> str:
    rows = [f"| {name} | {first[name]:.3f} | {last[name]:.3f} |" for name in first if name in last]
    return "\n".join(["| | before | after |", "|---|---|---|", *rows]) + "\n"
