"""Pseudo-MOS: an estimate of the MOS of a photo with known damage, from the means of KADID-10k."""

from __future__ import annotations

from qinsight_cli.core.tasks.degradation import NULL, SEVERITIES

# Pseudo-MOS of a damaged photo, 1-5: the mean human MOS of KADID-10k (Lin et al., 2019) for the nearest of its
# distortion types (white noise and impulse; Gaussian, lens and motion blur; JPEG and JPEG2000; darken), read off at the
# strengths of our generators and averaged over them. Darkening is compared by what mid-grey becomes: KADID-10k's levels
# take lightness 0.5 to 0.475, 0.45, 0.4, 0.3 and 0.1. It does not rate its clean references: 4.7 lies just above its
# mildest damage.
PSEUDO_MOS = {
    "noise": (3.0, 2.4, 2.1, 1.8, 1.5),
    "blur": (2.9, 2.1, 1.8, 1.5, 1.35),
    "compression": (3.6, 3.0, 2.4, 1.9, 1.45),
    "darken": (4.1, 3.6, 3.1, 2.6, 2.15),
}
PSEUDO_MOS_CLEAN = 4.7


def pseudo_mos(distortion: str, severity: str) -> float:
    return PSEUDO_MOS_CLEAN if distortion == NULL else PSEUDO_MOS[distortion][SEVERITIES.index(severity)]
