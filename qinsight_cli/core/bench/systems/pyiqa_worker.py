"""A script that runs one pyiqa metric in another interpreter, with JSON lines as input and output.

`PYTHON pyiqa_worker.py METRIC DEVICE`. It imports pyiqa, torch and Pillow; its environment needs no qinsight.
Input: {"image": PATH, "reference": PATH or null}. Output: first {"ready": true, "lower_better", "reference", "pyiqa",
"torch"} or {"error"}, then for each input line {"value"} or {"error"}, in order.
"""

import json
import os
import sys


def _load(name, device):
    import pyiqa  # type: ignore[import-not-found,unused-ignore]
    import torch

    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    metric = pyiqa.create_metric(name, device=torch.device(where))
    return metric, {
        "ready": True,
        "lower_better": bool(metric.lower_better),
        "reference": metric.metric_mode == "FR",
        "pyiqa": getattr(pyiqa, "__version__", "unknown"),
        "torch": torch.__version__,
    }


def _open(path):
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def _value(metric, request):
    import torch

    pictures = [_open(request["image"])]
    if request.get("reference"):
        pictures.append(_open(request["reference"]))
    with torch.no_grad():
        return float(metric(*pictures))


def _why(error):
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}"[:500]


def main():
    # Only JSON lines may reach the pipe, so everything that pyiqa prints goes to stderr.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(record):
        out.write(json.dumps(record) + "\n")
        out.flush()

    try:
        metric, ready = _load(sys.argv[1], sys.argv[2])
    except Exception as error:
        answer({"error": _why(error)})
        return
    answer(ready)
    for line in sys.stdin:
        try:
            answer({"value": _value(metric, json.loads(line))})
        except Exception as error:
            answer({"error": _why(error)})


if __name__ == "__main__":
    main()
