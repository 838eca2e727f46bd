"""The time that commands take to start: `qinsight --help` and `qinsight score one.jpg`, compared with bare scripts.

    python benchmarks/startup.py [PHOTO] [--repeats 7]

`--help` is compared with `python -c "import typer, rich.console"`, and `score` with a script that imports torch and the
model class, loads `tiny` and generates an answer about the same picture. The sides take turns; each figure is the least
of the repeats, in processor seconds. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from measuring import compared, option_parser, process, qinsight, report, taking_turns

IMPORTS = "import typer, rich.console"
BARE = """
import sys
import torch
from PIL import Image
from qinsight_cli.core.models.conv_tower import ConvVLForConditionalGeneration
from qinsight_cli.core.models.processor import load_processor
from qinsight_cli.core.models.names import TINY_FOLDER
from qinsight_cli.core.tasks.score import TASK
network = ConvVLForConditionalGeneration.from_pretrained(TINY_FOLDER, local_files_only=True).eval()
processor = load_processor(TINY_FOLDER, None)
text = processor.apply_chat_template(TASK.messages(("image",)), add_generation_prompt=True)
picture = Image.open(sys.argv[1]).convert("RGB")
inputs = processor(text=[text], images=[picture], return_tensors="pt")
with torch.inference_mode():
    written = network.generate(**inputs, do_sample=False, max_new_tokens=512)
print(processor.batch_decode(written[:, inputs["input_ids"].shape[1]:], skip_special_tokens=True)[0])
"""


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        photo = str(Path(options.photo).absolute()) if options.photo else _photo(Path(folder))
        commands = {
            "imports": [sys.executable, "-c", IMPORTS],
            "--help": qinsight("--help"),
            "bare script": [sys.executable, "-c", BARE, photo],
            "score": qinsight("score", photo, "--no-cache"),
        }
        if options.only == "help":
            del commands["bare script"], commands["score"]
        works = {name: lambda command=command: process(command, folder)[0] for name, command in commands.items()}
        found = taking_turns(works, options.repeats)
    rows = [compared("qinsight --help", "import typer, rich.console", found["--help"], found["imports"], 1.3)]
    if options.only != "help":
        rows.append(compared("qinsight score one.jpg", "a bare script", found["score"], found["bare script"], 1.15))
    report("startup", rows)


def _photo(folder: Path) -> str:
    import skimage.data
    from PIL import Image

    Image.fromarray(skimage.data.coffee()).save(folder / "one.jpg", quality=90)
    return str(folder / "one.jpg")


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("photo", nargs="?")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", choices=["help"], help="without the model")
    return parser.parse_args()


if __name__ == "__main__":
    main()
