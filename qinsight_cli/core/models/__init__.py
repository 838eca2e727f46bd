"""Models: from a name to weights and processor."""

import os

# OpenMP threads that spin while they wait made steps up to ten times slower on busy cores; set before torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
