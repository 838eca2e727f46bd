"""Three examples for each help page."""

from __future__ import annotations

# Command, as words on the command line -> (command line, what it does); a dataset has those of `_DATASET`.
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("qinsight score photos/", "rate a folder of pictures"),
        ("qinsight compare a.png b.png", "which of two is better"),
        ("qinsight bench --list", "the paper's tables, and what can run now"),
    ),
    "score": (
        ("qinsight score photos/ --csv out.csv", "a rating and the reasoning for each picture"),
        ("qinsight score photos/ --top 20 --html worst.html", "the 20 worst, to look at in a browser"),
        ("qinsight score 'shots/**/*.jpg' --below 2.5 --paths", "only the paths of the bad ones"),
    ),
    "degrade": (
        ("qinsight degrade photos/", "what is wrong with each picture"),
        ("qinsight degrade photos/ --sort severity --csv out.csv", "the most severe first"),
        ("qinsight degrade photos/ --mode direct", "much faster, without reasoning"),
    ),
    "compare": (
        ("qinsight compare a.png b.png", "which is better, and why"),
        ("qinsight compare a.png b.png --ref original.png", "which is closer to the original"),
        ("qinsight compare --pairs pairs.csv --both-orders --html pairs.html", "many pairs, with a slider"),
    ),
    "cache": (
        ("qinsight cache", "where the answers are, and how many"),
        ("qinsight cache --max-size 1000", "let them take one gigabyte"),
        ("qinsight cache --clear", "forget them all"),
    ),
    "doctor": (
        ("qinsight doctor", "what is there, what will go wrong, and what to do"),
        ("qinsight doctor | grep '^!'", "only what is to be put right"),
        ("qinsight doctor && qinsight train", "train only when nothing is in the way"),
    ),
    "explain": (
        ("qinsight explain photo.jpg --model tiny --model q-insight", "the reasoning of two models about a photo"),
        ("qinsight explain photo.jpg --model old=runs/a/final --model new=runs/b/final --html page.html", "as a page"),
        ("qinsight explain a.png b.png --task comparison --ref lr.png", "why one of two is better"),
    ),
    "serve": (
        ("qinsight serve", "then open http://localhost:7860 and drop a picture, or two"),
        ("qinsight serve --model runs/mine/final --port 8000", "a model of your own, on another port"),
        ("qinsight serve --host 0.0.0.0", "for the other machines of your network too; there is no password"),
    ),
    "train": (
        ("qinsight train --dry-run", "check data and recipe, and print what would be done"),
        ("qinsight train --tasks score,degradation --data data/koniq --data data/kadis", "as in the paper"),
        ("qinsight train --resume --out runs/mine", "go on with an interrupted run"),
    ),
    "bench": (
        ("qinsight bench --list", "every row of every table, and whether it can run now"),
        ("qinsight bench table2 --data data/synth --limit 400", "a sample of Table 2"),
        ("qinsight bench table1 --predictions mine=ratings.csv", "your own ratings beside the published ones"),
    ),
    "prepare": (
        ("qinsight prepare koniq ~/koniq10k", "a dataset of the paper, into data/koniq"),
        ("qinsight prepare synth photos/ --out data/synth", "damage your own photos"),
        ("qinsight prepare check data/koniq", "is a prepared dataset still whole?"),
    ),
    "prepare check": (
        ("qinsight prepare check data/koniq", "one dataset"),
        ("qinsight prepare check data/*", "all of them"),
        ("qinsight prepare check data/koniq --quick", "without opening a picture"),
    ),
    "prepare synth": (
        ("qinsight prepare synth photos/", "damaged copies of each photo, into data/synth"),
        ("qinsight prepare synth photos/ --per-photo 40 --reasoning", "more of them, with sentences to learn from"),
        ("qinsight prepare synth photos/ --pairs 8 --tasks degradation,comparison", "and pairs to compare"),
    ),
    "prepare pairs": (
        ("qinsight prepare pairs data/koniq", "pairs of rated pictures, the higher rated wins"),
        ("qinsight prepare pairs data/koniq --each 4 --min-gap 0.5", "more of them, and only clear ones"),
        ("qinsight prepare pairs data/koniq --out data/koniq-pairs", "into a folder of your choice"),
    ),
    "prepare json": (
        ("qinsight prepare json metas/ --images photos/", "a folder of train*.json and test*.json"),
        ("qinsight prepare json test_koniq.json --name koniq-deqa", "under another name than its file's"),
        ("qinsight prepare json metas/ --images photos/ --limit 500", "a part of it, in proportion"),
    ),
    "prepare csv": (
        ("qinsight prepare csv ratings.csv", "columns path and rating"),
        ("qinsight prepare csv ratings.csv --limit 500", "a part of it, in proportion"),
        ("qinsight prepare csv labels.csv --task degradation --out data/mine", "columns path, distortion, severity"),
    ),
}
_DATASET = (
    ("qinsight prepare {0} ~/{0}", "into data/{0}"),
    ("qinsight prepare {0} ~/{0} --limit 500 --out data/{0}-small", "a part of it, in proportion"),
    ("qinsight prepare {0} ~/{0} --copy", "with copies of the pictures"),
)


def examples(command: str) -> tuple[tuple[str, str], ...]:
    """The examples of a command, as (command line, what it does)."""
    group, _, name = command.rpartition(" ")
    found = EXAMPLES.get(command)
    if found is None and group == "prepare":
        return tuple((line.format(name), words.format(name)) for line, words in _DATASET)
    return found or ()
