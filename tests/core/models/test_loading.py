"""Model folders, their processors and their pixels."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models.loading import Model, load_model
from qinsight_cli.core.models.names import other_digests, weight_files, weights_digest
from qinsight_cli.core.models.processor import load_processor, pixel_limits


@pytest.fixture
def folder(random_model: Path, tmp_path: Path) -> Path:
    """A copy of the random model that a test may damage."""
    return Path(shutil.copytree(random_model, tmp_path / "model"))


def rating_of(model: Model) -> float:
    import torch

    ids = torch.arange(20)[None]
    with torch.inference_mode():
        return float(model.network(input_ids=ids).logits.double().sum())


# --- folders -------------------------------------------------------------------------------------------------------


def test_a_local_folder_loads(random_model: Path) -> None:
    import torch

    model = load_model(str(random_model), device="cpu")
    assert model.network.dtype == torch.float32
    assert not model.network.training
    assert model.identity == {
        "model": str(random_model),
        "weights": weights_digest(random_model),
        "device": "cpu",
        "dtype": "float32",
        "min_pixels": 64 * 64,
        "max_pixels": 128 * 128,
        "files": other_digests(random_model),
    }
    stored = load_file(random_model / "model.safetensors")
    assert sum(weight.numel() for weight in stored.values()) == sum(w.numel() for w in model.network.parameters())


def test_the_patch_embedding_is_a_matrix_product_with_the_numbers_of_the_convolution(random_model: Path) -> None:
    import torch

    embedding = load_model(str(random_model), device="cpu").network.model.visual.patch_embed
    pixels = torch.rand(7, embedding.proj.weight[0].numel(), generator=torch.Generator().manual_seed(0))
    ours = embedding(pixels)
    del embedding.forward  # transformers' own again; there is nothing to delete unless `load_model` prepared it
    torch.testing.assert_close(ours, embedding(pixels), rtol=1e-5, atol=1e-5)


def test_loading_is_quiet(random_model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_model(str(random_model), device="cpu")
    assert capfd.readouterr() == ("", "")


def test_bfloat16_files_are_used_as_float32_on_the_cpu(folder: Path) -> None:
    import torch

    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: weight.bfloat16() for name, weight in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    config = json.loads((folder / "config.json").read_text())
    config["dtype"] = config["text_config"]["dtype"] = config["vision_config"]["dtype"] = "bfloat16"
    (folder / "config.json").write_text(json.dumps(config))
    network = load_model(str(folder), device="cpu").network
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    name = next(iter(weights))
    assert any(torch.equal(weight, weights[name].bfloat16().float()) for weight in network.parameters())


def shard(folder: Path, parts: int) -> None:
    """Split the weights as large checkpoints are split."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {}
    for part in range(parts):
        name = f"model-{part + 1:05d}-of-{parts:05d}.safetensors"
        chosen = {key: weights[key] for key in sorted(weights)[part::parts]}
        save_file(chosen, folder / name, metadata={"format": "pt"})
        places.update(dict.fromkeys(chosen, name))
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_shards_load_as_one(random_model: Path, folder: Path) -> None:
    shard(folder, 3)
    assert [path.name[:11] for path in weight_files(folder)] == ["model-00001", "model-00002", "model-00003"]
    assert rating_of(load_model(str(folder))) == rating_of(load_model(str(random_model)))


def test_a_missing_shard_is_named(folder: Path) -> None:
    shard(folder, 3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(QInsightError, match="lacks 1 of its weight files, model-00002-of-00003"):
        load_model(str(folder))


def test_the_digest_follows_the_weights_alone(random_model: Path, folder: Path) -> None:
    before = weights_digest(random_model)
    (folder / "README.md").write_text("another")
    assert weights_digest(folder) == before
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    assert weights_digest(folder) != before


def test_missing_weights_are_not_made_up(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    dropped = sorted(weights)[5]
    del weights[dropped]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(QInsightError, match="1 weights are missing"):
        load_model(str(folder))


def only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def wider_config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["intermediate_size"] = 512
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (only_pickle, "only as pytorch_model.bin, a pickle"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no weights"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'), "holds a bert, not a Qwen2.5"),
        (lambda folder: (folder / "config.json").write_text("{}"), "config.json cannot be read"),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json cannot be read"),
        (cut_weights, "weights cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "weights cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x00" * 100), "weights cannot be loaded"),
        (wider_config, "weights cannot be loaded"),
        (lambda folder: (folder / "processor_config.json").unlink(), "processor cannot be read"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "processor cannot be read"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "processor cannot be read"),
        (lambda folder: (folder / "chat_template.jinja").unlink(), "no chat template"),
        (lambda folder: shutil.rmtree(folder) or folder.mkdir(), "has no config.json"),
    ],
)
def test_damaged_folders_are_one_clear_error(folder: Path, damage: Any, message: str) -> None:
    damage(folder)
    with pytest.raises(QInsightError, match=message) as caught:
        load_model(str(folder))
    assert "\n" not in str(caught.value)


def test_code_in_a_model_folder_is_not_run(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModel": "evil.Config"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass Config: pass\n")
    load_model(str(folder))
    assert not (folder / "ran").exists()


def test_the_folder_layout_of_older_checkpoints(random_model: Path, folder: Path) -> None:
    """preprocessor_config.json, chat_template.json, vocab.json with merges.txt, and one flat config.json."""
    processor = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    size = processor.pop("size")
    processor |= {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    processor |= {"image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    (folder / "processor_config.json").unlink()
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    config = json.loads((folder / "config.json").read_text())
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    text |= {"rope_theta": rope["rope_theta"], "model_type": "qwen2_5_vl"}
    text["rope_scaling"] = {"type": "mrope", "mrope_section": rope["mrope_section"]}
    (folder / "config.json").write_text(json.dumps({**text, **config, "model_type": "qwen2_5_vl"}))
    old, new = load_model(str(folder)), load_model(str(random_model))
    assert rating_of(old) == rating_of(new)
    picture = Image.new("RGB", (300, 200), (1, 200, 100))
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Is it good?"}]}]
    for key in ("input_ids", "pixel_values", "image_grid_thw"):
        one, other = (
            m.processor(text=[m.processor.apply_chat_template(messages)], images=[picture])[key] for m in (old, new)
        )
        np.testing.assert_array_equal(one, other)


def test_a_saved_processor_loads_again(random_model: Path, tmp_path: Path) -> None:
    load_processor(random_model).save_pretrained(tmp_path)
    again = load_processor(tmp_path)
    assert again.chat_template == load_processor(random_model).chat_template
    assert pixel_limits(again) == {"min_pixels": 64 * 64, "max_pixels": 128 * 128}
    # Where torchvision is installed transformers' own class reads the folder, and asks for this entry.
    assert "video_processor" in json.loads((tmp_path / "processor_config.json").read_text())


def test_max_pixels(random_model: Path) -> None:
    assert pixel_limits(load_processor(random_model, 3000)) == {"min_pixels": 3000, "max_pixels": 3000}
    with pytest.raises(QInsightError, match="--max-pixels 1023 is below 1024"):
        load_processor(random_model, 1023)


@pytest.mark.parametrize(("option", "value"), [("device", "warp"), ("device", "cuda:99"), ("dtype", "int8")])
def test_unusable_devices_and_dtypes(random_model: Path, option: str, value: str) -> None:
    with pytest.raises(QInsightError, match=f"--{option}"):
        load_model(str(random_model), **{option: value})


# --- pixels --------------------------------------------------------------------------------------------------------


def patches_by_hand(picture: Image.Image, width: int, height: int, patch: int) -> NDArray[np.float64]:
    """Bicubic resize, CLIP's normalisation, patches in 2x2 groups, each (colour, 2 equal frames, row, column)."""
    resized = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64) / 255
    values = (resized - [0.48145466, 0.4578275, 0.40821073]) / [0.26862954, 0.26130258, 0.27577711]
    rows = []
    for top in range(0, height, 2 * patch):
        for left in range(0, width, 2 * patch):
            for y in (top, top + patch):
                for x in (left, left + patch):
                    tile = values[y : y + patch, x : x + patch].transpose(2, 0, 1)
                    rows.append(np.stack([tile, tile], axis=1).ravel())
    return np.array(rows)


@pytest.mark.parametrize(
    ("size", "resized"),
    [((451, 300), (128, 96)), ((96, 64), (96, 64)), ((20, 30), (64, 96)), ((101, 99), (96, 96))],
)
def test_pixels_by_hand(random_model: Path, photo: Any, size: tuple[int, int], resized: tuple[int, int]) -> None:
    processor = load_processor(random_model)
    picture = Image.fromarray(photo).crop((0, 0, *size))
    found = processor.image_processor([picture])
    assert found["image_grid_thw"].tolist() == [[1, resized[1] // 16, resized[0] // 16]]
    expected = patches_by_hand(picture, *resized, patch=16)
    np.testing.assert_allclose(found["pixel_values"], expected, atol=1e-5)


def test_pixels_go_through_pillow_whatever_is_installed(random_model: Path) -> None:
    """torchvision resizes a little differently and would give another rating; its class is never chosen."""
    assert type(load_processor(random_model).image_processor).__name__ == "Qwen2VLImageProcessorPil"
