"""The progress bar: the rate over bursts of results, and the time left."""

from __future__ import annotations

import io

from rich.console import Console

from qinsight_cli.core.report.progress import RATE_SECONDS, make_progress, progress_bar


def shown(total: int, moments: list[tuple[float, int]], at: float) -> str:
    """What the bar says at a moment, after (seconds, items) bursts from a start at 0."""
    now = [0.0]
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    bars = make_progress(console, lambda: now[0])
    bar = bars.add_task("images", total=total)
    bars.advance(bar, 0)
    for seconds, items in moments:
        now[0] = seconds
        for _ in range(items):
            bars.advance(bar)
    now[0] = at
    console.print(bars.get_renderable())
    return " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]


def test_nothing_is_said_of_the_rate_before_the_first_result() -> None:
    assert "/s" not in shown(10, [], 5.0)
    assert "0/10" in shown(10, [], 5.0)


def test_a_burst_counts_from_the_start_of_its_batch() -> None:
    said = shown(100, [(4.0, 8)], 4.0)  # 8 results at once after 4 seconds
    assert "8/100" in said
    assert "2.0/s, 0:00:46 left" in said  # 92 left at 2 a second


def test_results_that_take_minutes_still_have_a_rate() -> None:
    said = shown(1000, [(100.0, 10), (200.0, 10)], 200.0)
    assert "0.1/s, 2:43:20 left" in said  # 980 left, 10 seconds each


def test_the_rate_forgets_what_is_long_ago() -> None:
    end = 1000.0 + RATE_SECONDS
    said = shown(1000, [(1.0, 100), (1000.0, 1), (end, 60)], end)
    assert "0.1/s" in said  # 60 in the last 600 seconds


def test_lines_written_meanwhile_do_not_tear_it() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    with progress_bar("images", 2, console) as advance:
        advance()
        console.print("a note")
        advance()
    assert "a note\n" in console.file.getvalue()  # type: ignore[attr-defined]
