"""Pages in a browser that is watched: errors of scripts, dialogs and requests elsewhere are problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# The lowest contrast (WCAG 2) of the words that selectors name against what lies behind them.
CONTRAST = """(words) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const linear = (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map((v) => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255];
  };
  return Math.min(...words.map((each) => document.querySelector(each)).filter(Boolean).map((node) => {
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  }));
}"""


@contextmanager
def watched_pages(browser: Any, own: tuple[str, ...], timeout: int) -> Iterator[tuple[Callable[..., Any], list[str]]]:
    """(a function that gives an empty page, problems): `new_page(dark=..., width=...)`. `own` are the beginnings of the
    addresses that may be asked, `timeout` is in milliseconds."""
    problems: list[str] = []
    contexts = []

    def new_page(dark: bool = False, width: int = 1280, height: int = 900, **more: Any) -> Any:
        context = browser.new_context(
            color_scheme="dark" if dark else "light", viewport={"width": width, "height": height}, **more
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(timeout)
        page.on("pageerror", lambda error: problems.append(f"script: {error}"))
        page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
        page.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda asked: None if asked.url.startswith(own) else problems.append(f"asks {asked.url}"))
        return page

    yield new_page, problems
    for context in contexts:
        context.close()
