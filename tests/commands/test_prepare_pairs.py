"""`qinsight prepare pairs` as a person runs it."""

from __future__ import annotations

from pathlib import Path

from prepare_runs import one_line, rows_of, run


def test_pairs_of_a_rated_dataset(kadid: Path, here: Path, capsys) -> None:
    run("kadid", kadid, "--workers", 1, "--test-share", 0.5, "--reasoning", "--seed", 1)
    capsys.readouterr()
    assert run("pairs", "data/kadid", "--each", 2, "--min-gap", 1) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.split()[:2] == ["wrote", str(here / "data/kadid-pairs")]
    rating = {Path(row["images"]["image"]).name: row["rating"] for row in rows_of(here / "data/kadid")}
    pairs = rows_of(here / "data/kadid-pairs")
    assert len(pairs) == 30
    for row in pairs:
        first, second = (rating[Path(row["images"][role]).name] for role in ("image_a", "image_b"))
        assert abs(first - second) >= 1
        assert row["winner"] == ("Image A" if first > second else "Image B")
    assert run("check", "data/kadid-pairs", "--workers", 1) == 0
    capsys.readouterr()
    assert run("pairs", "data/kadid", "--min-gap", 4.5) == 1
    assert "no two pictures of one split are rated 4.5 or more apart" in one_line(capsys)
    assert run("pairs", "data/kadid-pairs") == 1
    assert "has no score rows to pair" in one_line(capsys)
