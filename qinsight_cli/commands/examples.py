"""Three examples for each help page."""

from __future__ import annotations

# Command, as words on the command line -> (command line, what it does). Datasets have the examples of `_DATASET`.
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("qinsight score photos/", "rate a folder of pictures"),
        ("qinsight compare a.png b.png", "say which of two pictures is better"),
        ("qinsight bench --list", "list the paper's tables, and what can run now"),
    ),
    "score": (
        ("qinsight score photos/ --csv out.csv", "write a rating and the reasoning for each picture"),
        ("qinsight score photos/ --top 20 --html worst.html", "show the 20 worst in a browser"),
        ("qinsight score 'shots/**/*.jpg' --below 2.5 --paths", "print only the paths of the bad ones"),
    ),
    "degrade": (
        ("qinsight degrade photos/", "name the distortion of each picture"),
        ("qinsight degrade photos/ --sort severity --csv out.csv", "write the most severe first"),
        ("qinsight degrade photos/ --mode direct", "much faster, without reasoning"),
    ),
    "compare": (
        ("qinsight compare a.png b.png", "say which is better, and why"),
        ("qinsight compare a.png b.png --ref original.png", "say which is closer to the original"),
        ("qinsight compare --pairs pairs.csv --both-orders --html pairs.html", "compare many pairs, with a slider"),
    ),
    "cache": (
        ("qinsight cache", "show where the answers are, and how many"),
        ("qinsight cache --max-size 1000", "allow one gigabyte"),
        ("qinsight cache --clear", "remove all answers"),
    ),
    "doctor": (
        ("qinsight doctor", "show what is installed, what will fail, and how to fix it"),
        ("qinsight doctor | grep '^!'", "show only the problems"),
        ("qinsight doctor && qinsight train", "train only if there are no problems"),
    ),
    "explain": (
        ("qinsight explain photo.jpg --model tiny --model q-insight", "show the reasoning of two models about a photo"),
        ("qinsight explain photo.jpg --model old=runs/a/final --model new=runs/b/final --html page.html", "as a page"),
        ("qinsight explain a.png b.png --task comparison --ref lr.png", "say why one of two is better"),
    ),
    "serve": (
        ("qinsight serve", "then open http://localhost:7860 and drop one or two pictures"),
        ("qinsight serve --model runs/mine/final --port 8000", "use your own model, on another port"),
        ("qinsight serve --host 0.0.0.0", "also for other machines of your network; there is no password"),
    ),
    "train": (
        ("qinsight train --dry-run", "check data and recipe, and print the plan"),
        ("qinsight train --tasks score,degradation --data data/koniq --data data/kadis", "train as in the paper"),
        ("qinsight train --resume --out runs/mine", "resume an interrupted run"),
    ),
    "bench": (
        ("qinsight bench --list", "list every row of every table, and whether it can run now"),
        ("qinsight bench table2 --data data/synth --limit 400", "measure Table 2 on a sample"),
        ("qinsight bench table1 --predictions mine=ratings.csv", "compare your own ratings with the published ones"),
    ),
    "prepare": (
        ("qinsight prepare koniq ~/koniq10k", "prepare a dataset of the paper in data/koniq"),
        ("qinsight prepare synth photos/ --out data/synth", "distort your own photos"),
        ("qinsight prepare check data/koniq", "check a prepared dataset"),
    ),
    "prepare check": (
        ("qinsight prepare check data/koniq", "check one dataset"),
        ("qinsight prepare check data/*", "check all datasets"),
        ("qinsight prepare check data/koniq --quick", "check without opening pictures"),
    ),
    "prepare synth": (
        ("qinsight prepare synth photos/", "write distorted copies of each photo to data/synth"),
        ("qinsight prepare synth photos/ --per-photo 40 --reasoning", "write more copies, with reasoning for SFT"),
        ("qinsight prepare synth photos/ --pairs 8 --tasks degradation,comparison", "also write pairs to compare"),
    ),
    "prepare pairs": (
        ("qinsight prepare pairs data/koniq", "pair rated pictures; the higher rating wins"),
        ("qinsight prepare pairs data/koniq --each 4 --min-gap 0.5", "make more pairs, only clear ones"),
        ("qinsight prepare pairs data/koniq --out data/koniq-pairs", "choose the folder"),
    ),
    "prepare json": (
        ("qinsight prepare json metas/ --images photos/", "read a folder of train*.json and test*.json"),
        ("qinsight prepare json test_koniq.json --name koniq-deqa", "choose the name of the dataset"),
        ("qinsight prepare json metas/ --images photos/ --limit 500", "prepare a stratified sample"),
    ),
    "prepare csv": (
        ("qinsight prepare csv ratings.csv", "read the columns path and rating"),
        ("qinsight prepare csv ratings.csv --limit 500", "prepare a stratified sample"),
        ("qinsight prepare csv labels.csv --task degradation --out data/mine", "read path, distortion and severity"),
    ),
}
_DATASET = (
    ("qinsight prepare {0} ~/{0}", "write the dataset to data/{0}"),
    ("qinsight prepare {0} ~/{0} --limit 500 --out data/{0}-small", "prepare a stratified sample"),
    ("qinsight prepare {0} ~/{0} --copy", "copy the pictures too"),
)


def examples(command: str) -> tuple[tuple[str, str], ...]:
    """The examples of a command, as (command line, what it does)."""
    group, _, name = command.rpartition(" ")
    found = EXAMPLES.get(command)
    if found is None and group == "prepare":
        return tuple((line.format(name), words.format(name)) for line, words in _DATASET)
    return found or ()
