"""Models from the Hugging Face hub, or from its cache without a network."""

from __future__ import annotations

from pathlib import Path

from qinsight_cli.core.errors import QInsightError

PATIENCE = 10.0  # seconds to wait for the hub before only its cache is used
FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja")  # no pickles, no code


def fetch(repo: str, subfolder: str = "", revision: str | None = None) -> Path:
    """The local folder of a hub model, downloaded into the hub's cache if necessary.

    repo "owner/name"; revision a branch, a tag or a commit, None for the default branch. If the hub does not answer,
    the cache is used. Raises QInsightError with the reason if there is no such folder.
    """
    from huggingface_hub import HfApi, snapshot_download

    wanted = [f"{subfolder}/{pattern}" if subfolder else pattern for pattern in FILES]
    refusal: Exception | None = None
    try:
        # snapshot_download makes this request too, but waits forever behind some firewalls.
        HfApi().model_info(repo, revision=revision, timeout=PATIENCE)
    except Exception as error:  # whatever the HTTP library raises: the cache may still have the model
        refusal = error
    try:
        snapshot = snapshot_download(
            repo, revision=revision, allow_patterns=wanted, local_files_only=refusal is not None
        )
    except (OSError, ValueError) as error:
        raise QInsightError(_explain(repo, revision, refusal, error)) from error
    folder = Path(snapshot) / subfolder
    if not folder.is_dir():
        raise QInsightError(f"{repo} has no folder {subfolder!r}")
    return folder


def _explain(repo: str, revision: str | None, refusal: Exception | None, failure: Exception) -> str:
    """refusal: why the hub did not answer, None if it did; failure: why the files are not available."""
    from huggingface_hub import errors

    cause = refusal or failure
    if isinstance(cause, errors.HFValidationError):
        return f"no folder {repo!r}, and not a hub id: {str(cause).splitlines()[0]}"
    if isinstance(cause, errors.RevisionNotFoundError):
        return f"{repo} has no revision {revision!r}"
    if isinstance(cause, errors.GatedRepoError):
        return f"{repo} is gated: accept its terms on its hub page and log in (hf auth login)"
    if isinstance(cause, errors.RepositoryNotFoundError):
        return f"no folder {repo!r} here, and no such model on the hub, or it is private (hf auth login)"
    if refusal is None and not isinstance(failure, errors.LocalEntryNotFoundError):
        return f"{repo} could not be fetched: {str(failure).splitlines()[0]}"
    partial = isinstance(failure, getattr(errors, "IncompleteSnapshotError", ()))
    held = "its cache holds only a part of" if partial else "its cache does not hold"
    return (
        f"no folder {repo!r} here, the hub cannot be reached, and {held} {repo}; "
        "download it on a machine with a network and give its folder, or use --model tiny"
    )
