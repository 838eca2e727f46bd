"""PixelEngine that is heard while it writes, slowly, and that can be kept writing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from pixel_engine import PixelEngine
from qinsight_cli.core.engines import Completion, Decoding


class TalkingEngine(PixelEngine):
    """Its listener gets each completion word by word, `seconds` apart. While `endless` is set it never stops."""

    def __init__(self, seconds: float = 0.0, text: str = "") -> None:
        super().__init__()
        self.listener: Callable[[str], None] | None = None
        self.seconds, self.text = seconds, text
        self.endless, self.writing = threading.Event(), threading.Event()

    def generate(self, batch: list[Any], decoding: Decoding) -> list[list[Completion]]:
        found = super().generate(batch, decoding)
        if self.text:
            found = [[Completion(self.text, 10, 5, "stop", each.probabilities) for each in row] for row in found]
        words = found[0][0].text.split(" ")
        self.writing.set()
        try:
            for count in range(1, len(words) + 1):
                if self.listener is not None:
                    self.listener(" ".join(words[:count]))
                time.sleep(self.seconds)
            while self.endless.is_set():
                if self.listener is not None:
                    self.listener(found[0][0].text)
                time.sleep(0.01)
        finally:
            self.writing.clear()
        return found
