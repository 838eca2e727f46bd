"""The verdict: one line with the damage that a reasoning names and its severity, for tables and galleries."""

from __future__ import annotations

import re

LEVELS = ("slight", "moderate", "obvious", "serious", "catastrophic")
LONGEST = 200
MOST_NAMED = 2  # kinds of damage in one verdict
# The five words of the opinion scale (ITU-T P.910), for ratings that round to 1 ... 5.
QUALITY = ("bad", "poor", "fair", "good", "excellent")

_DAMAGE = re.compile(
    rf"\b({'|'.join(LEVELS)})\s+(noise|grain|blur|compression|darkening|artefacts|artifacts|damage)\b", re.IGNORECASE
)
_NEGATION = re.compile(r"\b(?:no|not|without|free of|neither|nor|lacks?)\b|n't\b", re.IGNORECASE)
# What makes a sentence worth showing: damage with its severity, then damage, then a conclusion.
_DAMAGED = re.compile(
    r"\b(?:nois\w*|grain\w*|blur\w*|out of focus|compress\w*|block\w*|ringing|art[ei]fact\w*|dark\w*|under-?exposed|"
    r"over-?exposed|distort\w*|degrad\w*|damage\w*|banding|haz[ey]\w*|pixelat\w*)",
    re.IGNORECASE,
)
_CONCLUSION = re.compile(r"\b(?:overall|quality|therefore|thus|in conclusion|better|superior|worse)\b", re.IGNORECASE)


def sentences(text: str) -> list[str]:
    """The sentences of a text, each on one line."""
    words = " ".join(text.split())
    return [sentence for sentence in re.split(r"(?<=[.!?])\s+", words) if sentence]


def named_damage(reasoning: str) -> list[str]:
    """The damage that a reasoning affirms, as "serious noise": worst first, at most `MOST_NAMED`, each kind once."""
    found: dict[str, int] = {}
    for sentence in sentences(reasoning):
        for match in _DAMAGE.finditer(sentence):
            if not _NEGATION.search(sentence[: match.start()]):
                kind, level = match.group(2).lower(), LEVELS.index(match.group(1).lower())
                found[kind] = max(level, found.get(kind, 0))
    worst = sorted(found.items(), key=lambda each: -each[1])[:MOST_NAMED]
    return [f"{LEVELS[level]} {kind}" for kind, level in worst]


def telling_sentences(reasoning: str) -> str:
    """The sentences that name damage, in order, cut at `LONGEST` characters; else the conclusion or the first
    sentence."""
    each = sentences(reasoning)
    ranks = [_rank(sentence) for sentence in each]
    best = max(ranks, default=0)
    chosen = [sentence for sentence, rank in zip(each, ranks, strict=True) if rank == best] if best else each[:1]
    if best == 1:
        chosen = chosen[-1:]  # the last such sentence is the conclusion
    kept = chosen[:1]
    for sentence in chosen[1:]:
        if len(" ".join([*kept, sentence])) > LONGEST:
            break
        kept.append(sentence)
    return _shortened(" ".join(kept))


def _rank(sentence: str) -> int:
    if _DAMAGE.search(sentence):
        return 3
    return 2 if _DAMAGED.search(sentence) else 1 if _CONCLUSION.search(sentence) else 0


def _shortened(text: str) -> str:
    """A text of at most `LONGEST` characters, cut between words if possible."""
    if len(text) <= LONGEST:
        return text
    head = text[: LONGEST - 1]
    return f"{head.rsplit(' ', 1)[0] if ' ' in head[LONGEST // 2 :] else head}…"


def quality_word(rating: float) -> str:
    """The word of the opinion scale nearest to a rating in [1, 5]."""
    return QUALITY[min(4, max(0, int(float(rating) + 0.5) - 1))]


def rating_verdict(rating: float | None, reasoning: str) -> str:
    """ "catastrophic blur, bad quality", or, where no damage is named with its severity, "good quality: ...".

    Without a rating, only the damage or the sentences of the reasoning.
    """
    damage = named_damage(reasoning)
    if rating is None:
        return ", ".join(damage) or telling_sentences(reasoning)
    word = f"{quality_word(rating)} quality"
    if damage:
        return ", ".join([*damage, word])
    shown = telling_sentences(reasoning)
    return f"{word}: {shown}" if shown else word
