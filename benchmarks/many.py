"""Ten thousand pictures compared with a hundred: the time for each picture, and the peak memory of the command.

    python benchmarks/many.py [--few 100] [--many 10000] [--side 160] [--mode reasoned]

Each is a run of `qinsight score` on new pictures. The processor seconds of a run on one picture, which are the start,
are subtracted. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from measuring import option_parser, process, qinsight, real_photos, report


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        everything = _pictures(Path(folder) / "pictures", options.many, options.side)
        found = {}
        for count in (1, options.few, options.many):
            listed = Path(folder) / f"{count}.txt"
            listed.write_text("\n".join(map(str, everything[:count])))
            command = qinsight("score", "-", "--no-cache", "--csv", f"{count}.csv", "--mode", options.mode)
            found[count] = process(command, folder, listed)
            rows = len((Path(folder) / f"{count}.csv").read_text(encoding="utf-8").splitlines()) - 1
            assert rows >= count, f"{rows} rows of {count} pictures"
    start = found[1][0]
    rows = [_row(count, found[count], start) for count in (options.few, options.many)]
    few, many = rows
    report(
        "many",
        rows,
        mode=options.mode,
        start_s=start,
        ratio=many["ms/picture"] / few["ms/picture"],
        more_mb=many["peak MB"] - few["peak MB"],
        to_reach={"ratio": 1.05, "more_mb": 200},
    )


def _row(count: int, measured: tuple[float, float, int], start: float) -> dict[str, Any]:
    busy, seconds, peak = measured
    return {
        "pictures": count,
        "processor s": busy,
        "seconds": seconds,
        "ms/picture": 1000 * (busy - start) / (count - 1),
        "peak MB": peak / 1e6,
    }


def _pictures(folder: Path, count: int, side: int) -> list[Path]:
    """Crops of real photos as JPEG; no two files have the same bytes."""

    folder.mkdir()
    photos = real_photos()
    paths = []
    for number in range(count):
        photo = photos[number % len(photos)]
        turn = number // len(photos)
        left = 7 * turn % (photo.width - side)
        top = 3 * turn % (photo.height - side)
        paths.append(folder / f"{number:06}.jpg")
        comment = str(number).encode()  # two crops of the same place still differ
        photo.crop((left, top, left + side, top + side)).save(paths[-1], quality=70 + turn % 25, comment=comment)
    return paths


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=160, help="pixels of a picture's side")
    parser.add_argument("--mode", choices=["reasoned", "direct"], default="reasoned")
    return parser.parse_args()


if __name__ == "__main__":
    main()
