"""Write real photos and damaged versions of them, for `make demo`: python examples/make_photos.py FOLDER

The photos come with scikit-image; the damage is qinsight's own. Photos are saved as JPEG of quality 95.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from qinsight_cli.core.data.distortions import distort
from qinsight_cli.core.tasks.degradation import DISTORTIONS

PHOTOS = {"astronaut": data.astronaut, "cat": data.chelsea, "coffee": data.coffee}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, load in PHOTOS.items():
        photo = np.ascontiguousarray(load()[..., :3])
        save(photo, folder / f"{name}.jpg")
        for distortion in DISTORTIONS:
            for severity in ("moderate", "catastrophic"):
                damaged, _ = distort(photo, distortion, severity, np.random.default_rng(0))
                save(damaged, folder / f"{name}-{distortion}-{severity}.jpg")


def save(pixels: np.ndarray, path: Path) -> None:
    Image.fromarray(pixels).save(path, quality=95, subsampling=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write three real photos and damaged versions of them.")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where to write them; created if missing")
    main(parser.parse_args().folder)
