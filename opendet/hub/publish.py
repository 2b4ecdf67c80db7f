"""A model's folder, put on the Hugging Face hub."""

from pathlib import Path

from opendet.hub.model_files import MODEL_CARD, model_files


def publish(
    folder: Path,
    repo: str,
    *,
    private: bool = False,
    message: str = "An Open-Det model",
) -> str:
    """Commit the model's own files and its card to `repo` (owner/name), which is made where it is
    not there; nothing else of the folder leaves it. Returns the commit's address.

    Who publishes is who logged in by `hf auth login` or $HF_TOKEN. Raises ValueError, in one line,
    for a folder that is no whole model and where the hub refuses or cannot be reached; then nothing
    of it is on the hub but perhaps the empty repository.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    from opendet.cards.model_card import model_card_text

    card = model_card_text(folder).encode()
    files: dict[str, bytes | Path] = {name: folder / name for name in model_files(folder)}
    additions = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=content)
        for name, content in {MODEL_CARD: card, **files}.items()
    ]
    hub = HfApi()
    try:
        hub.create_repo(repo, private=private, exist_ok=True)
        commit = hub.create_commit(repo, operations=additions, commit_message=message)
    except Exception as error:  # whatever a hub out of reach raises: its libraries share no base
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ValueError(
            f"{repo} could not be written on the hub ({reason}): check the network, that you are "
            "logged in (`hf auth whoami`), and that the name is owner/name"
        ) from error
    return str(commit.commit_url)
