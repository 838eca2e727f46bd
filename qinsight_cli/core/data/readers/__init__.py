"""One reader per published dataset: its original layout -> labels, which `data.prepare` turns into manifest rows.

A reader is a module with `read(source, ...) -> Labelled`: it finds the label files, checks their header and numbers,
and opens no picture. `SIGNS` knows every dataset by the files that only it has.
"""

# Dataset -> its name in print, and the patterns of the label files by which a folder is known to be it.
SIGNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "koniq": ("KonIQ-10k", ("koniq10k_distributions_sets.csv", "koniq10k_scores_and_distributions.csv")),
    "spaq": ("SPAQ", ("MOS and Image attribute scores.xlsx",)),
    "kadid": ("KADID-10k", ("dmos.csv",)),
    "pipal": ("PIPAL", ("Train_Label/A*.txt", "A[0-9][0-9][0-9][0-9].txt", "pipal*_train.txt")),
    "livew": ("LIVE In the Wild", ("AllMOS_release.mat",)),
    "csiq": ("CSIQ", ("csiq.DMOS.xlsx", "csiq_label.txt")),
    "tid2013": ("TID2013", ("mos_with_names.txt",)),
    "biq2021": ("BIQ2021", ("Train (Images and MOS).csv", "Test (Images and MOS).csv")),
    "kadis": ("DQ-495K (KADIS)", ("*refA_sd*.json", "train_dist.json", "test_dist.json")),
    "diffiqa": ("DiffIQA comparisons", ("train_comparison.json",)),
    "srbench": ("SRIQA-Bench", ("SRIQA*.txt", "*_SRIQA_mos.txt", "MOS/*_*.txt", "MOS/online*.txt")),
    "agiqa": ("AGIQA-3K", ("data.csv", "agiqa*.csv")),
}
