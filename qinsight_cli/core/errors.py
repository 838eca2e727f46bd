"""The errors a user may see. Each message names the thing that is wrong and the way out."""


class QInsightError(Exception):
    """A mistake or a bad input that stops the command: shown as one line, exit code 1."""


class UsageError(QInsightError):
    """The command line itself is wrong (an option, a combination of options): exit code 2."""


class ImageError(QInsightError):
    """One picture cannot be used. The commands turn it into a row with an error, never a crash."""


class OutputError(QInsightError):
    """Standard output cannot be written, exit code 1. The message is empty if the reader has closed the pipe."""
