"""PSNR and SSIM through scikit-image: the two baselines without weights and without another environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from qinsight_cli.core.errors import ImageError
from qinsight_cli.core.images import load_image


def psnr(image: Path, reference: Path) -> float:
    """Peak signal-to-noise ratio over RGB in dB, higher better; infinite for equal pictures. Raises ImageError."""
    from skimage.metrics import peak_signal_noise_ratio

    first, second = _pair(image, reference)
    if np.array_equal(first, second):
        return float("inf")
    return float(peak_signal_noise_ratio(second, first, data_range=255))


def ssim(image: Path, reference: Path) -> float:
    """Structural similarity of Wang et al. 2004 on luma (BT.601), Gaussian window of sigma 1.5. Raises ImageError."""
    from skimage.metrics import structural_similarity

    first, second = (_luma(pixels) for pixels in _pair(image, reference))
    if min(first.shape) < 11:
        raise ImageError(f"{first.shape[1]} x {first.shape[0]} pixels: SSIM needs at least 11 on each side")
    return float(
        structural_similarity(
            second, first, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
    )


METRICS = {"psnr": psnr, "ssim": ssim}


def _pair(image: Path, reference: Path) -> tuple[Any, Any]:
    first, second = (load_image(path).image for path in (image, reference))
    if first.size != second.size:
        raise ImageError(
            f"{first.width} x {first.height} pixels, its reference {second.width} x {second.height}: the sizes differ"
        )
    return np.asarray(first), np.asarray(second)


def _luma(pixels: Any) -> Any:
    return pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
