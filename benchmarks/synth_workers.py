"""`qinsight prepare synth` with two workers compared with one: seconds on the clock, and processor seconds.

    python benchmarks/synth_workers.py [PHOTOS] [--workers 2] [--per-photo 40] [--repeats 3]

Needs as many idle cores as workers; on a busy machine only the processor seconds are meaningful. Checks that any number
of workers makes the same pictures. Without PHOTOS it takes a few photos of scikit-image. Prints a table and one JSON
line.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from pathlib import Path
from typing import Any

from measuring import option_parser, process, qinsight, report


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        photos = str(Path(options.photos).absolute()) if options.photos else str(_photos(Path(folder) / "photos"))
        best: dict[int, tuple[float, float]] = {}
        made = {}
        for turn in range(options.repeats):
            for workers in (1, options.workers):
                out = Path(folder) / f"{turn}-{workers}"
                command = qinsight(
                    *("prepare", "synth", photos, "--out", out, "--workers", workers),
                    *("--per-photo", options.per_photo, "--seed", 0),
                )
                busy, seconds, _ = process(command, folder)
                before = best.get(workers, (float("inf"), float("inf")))
                best[workers] = (min(before[0], busy), min(before[1], seconds))
                made[workers] = _digest(out)
    assert len(set(made.values())) == 1, "the pictures differ with the number of workers"
    (one_busy, one), (more_busy, more) = best[1], best[options.workers]
    rows: list[dict[str, Any]] = [
        {"workers": workers, "seconds": seconds, "processor s": busy, "times as fast": one / seconds}
        for workers, (busy, seconds) in best.items()
    ]
    figures = {"ratio": one / more, "busy_ratio": more_busy / one_busy}
    report("synth_workers", rows, **figures, to_reach=1.8, same_pictures=True)


def _digest(folder: Path) -> str:
    """SHA-256 of the names and bytes of the pictures and manifests below a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "dataset.json":
            found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return found.hexdigest()


def _photos(folder: Path) -> Path:
    import skimage.data
    from PIL import Image

    folder.mkdir()
    for name in ("coffee", "astronaut", "rocket", "chelsea", "cat"):
        Image.fromarray(getattr(skimage.data, name)()).save(folder / f"{name}.png")
    return folder


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("photos", nargs="?", help="a folder of photos without damage")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--per-photo", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
