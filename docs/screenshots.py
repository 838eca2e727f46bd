"""Make the pictures of the README again, from real runs: python docs/screenshots.py

Writes docs/images/score.svg, what `qinsight score` prints on a terminal, docs/images/gallery.png, the page that --html
writes, and docs/images/serve.jpg, the page of `qinsight serve`, both as Chromium shows them. Run it when the weights of
the embedded model, or what the commands print, have changed. It needs a terminal as Linux and macOS have it; the pages
also need the extras `browser` and `serve`, and Chromium.
"""

from __future__ import annotations

import io
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
COLUMNS = 112
SHOWN = (
    "astronaut.jpg",
    "cat.jpg",
    "cat-noise-catastrophic.jpg",
    "cat-blur-moderate.jpg",
    "coffee.jpg",
    "coffee-compression-catastrophic.jpg",
    "coffee-darken-moderate.jpg",
)
COMPARED = ("coffee.jpg", "coffee-blur-moderate.jpg")
PORT = 7861
WIDTH, HEIGHT = 1100, 720  # of the page of the gallery
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        every = folder / "every"
        make = [sys.executable, str(ROOT / "examples" / "make_photos.py"), str(every)]
        subprocess.run(make, check=True, env=environment(folder))
        (folder / "photos").mkdir()
        for photo in SHOWN:
            shutil.copy(every / photo, folder / "photos")
        command = ["score", "photos", "--sort", "rating"]
        printed = on_a_terminal(command, folder)
        (IMAGES / "score.svg").write_text(svg(printed, " ".join(["qinsight", *command])), encoding="utf-8")
        on_a_terminal([*command, "--html", "report.html"], folder)  # the answers are in the cache
        with chromium() as browser:
            shoot_gallery(browser, folder / "report.html", IMAGES / "gallery.png")
            shoot_served(browser, folder, [every / name for name in COMPARED], IMAGES / "serve.jpg")


def environment(folder: Path) -> dict[str, str]:
    """The environment of this process, with its own cache and the size of a terminal."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "QINSIGHT_NO_CACHE")}
    own = {"PYTHONPATH": str(ROOT), "QINSIGHT_CACHE": str(folder / "cache"), "COLUMNS": str(COLUMNS), "TERM": "xterm"}
    return {**kept, **own, "COLORTERM": "truecolor"}


def on_a_terminal(arguments: list[str], folder: Path) -> str:
    """What qinsight prints on standard output when that is a terminal; messages and progress are left out."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "qinsight_cli", *arguments]
    started = subprocess.Popen(command, cwd=folder, stdout=theirs, stderr=subprocess.DEVNULL, env=environment(folder))
    os.close(theirs)
    parts = []
    try:
        while part := os.read(ours, 4096):
            parts.append(part)
    except OSError:  # on Linux the other end is closed
        pass
    os.close(ours)
    if started.wait() != 0:
        raise SystemExit(f"{' '.join(arguments)} ended with exit code {started.returncode}")
    return b"".join(parts).decode().replace("\r\n", "\n")


def svg(printed: str, command: str) -> str:
    """Coloured text of a terminal, with the command above it, as an SVG that loads no font."""
    from rich.console import Console
    from rich.text import Text

    console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "bold green"), (command, "bold")), Text(""), sep="\n")
    console.print(Text.from_ansi(printed.strip("\n")))
    drawn = console.export_svg(title="qinsight", unique_id="qinsight")
    drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in drawn.splitlines() if line.strip()) + "\n"


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def shoot_gallery(browser: Any, page: Path, picture: Path) -> None:
    """Write the page as a PNG of few colours."""
    from PIL import Image

    shown = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
    shown.goto(page.as_uri())
    taken = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
    taken.quantize(192, method=Image.Quantize.MEDIANCUT).save(picture, optimize=True)


def shoot_served(browser: Any, folder: Path, photos: list[Path], picture: Path) -> None:
    """Drop photos on the page of `qinsight serve`, wait for the answers, and write the page as a JPEG."""
    command = [sys.executable, "-m", "qinsight_cli", "serve", "--port", str(PORT)]
    server = subprocess.Popen(command, cwd=folder, env=environment(folder), stderr=subprocess.DEVNULL)
    try:
        wait_for_port(PORT)
        shown = browser.new_page(viewport={"width": 960, "height": HEIGHT}, color_scheme="light")
        shown.goto(f"http://127.0.0.1:{PORT}/")
        shown.locator("input[type=file]").set_input_files([str(photo) for photo in photos])
        shown.locator(".qi-status:text-is('done')").wait_for(state="attached", timeout=120_000)
        shown.screenshot(path=picture, full_page=True, type="jpeg", quality=80)
    finally:
        server.terminate()
        server.wait()


def wait_for_port(port: int, patience: float = 120) -> None:
    """Return once a program listens on a port of this machine."""
    for _ in range(int(patience * 4)):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.25)
    raise SystemExit(f"nothing answers on port {port}")


if __name__ == "__main__":
    main()
