"""Upload a model to the Hub: the only place in prefine from which anything is uploaded."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefine.errors import ConfigError, PushError
from prefine.models.folder import ModelFolder, problems

CARD = "README.md"
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Upload:
    """What would be uploaded, to be looked at before it is.

    Attributes:
        repository: Name on the Hub, `owner/name`.
        private: Whether only its owners may see it.
        folder: Where the files lie.
        kind: What the model is, in words.
        files: Name -> bytes; nothing else leaves this machine.
        notes: What whoever uploads it should know.
    """

    repository: str
    private: bool
    folder: Path
    kind: str
    files: Mapping[str, int]
    notes: tuple[str, ...] = ()


def prepare_upload(name: str, repository: str, *, private: bool = False) -> Upload:
    """Collect what would be uploaded, and refuse what should not be.

    Args:
        name: Folder of a run, or of a model.
        repository: Name on the Hub, `owner/name`.
        private: Whether only its owners may see it.

    Raises:
        ConfigError: If others could not load the model, or its files name folders of this machine.
    """
    if not REPOSITORY.fullmatch(repository):
        raise ConfigError(f"{repository!r} is no name on the Hub. Write owner/name.")
    found = ModelFolder.read(name)
    wrong = problems(found.path)
    if wrong:
        raise ConfigError(f"{found.path} cannot be uploaded: {'; '.join(wrong)}.")
    if found.base is not None and Path(found.base).exists():
        raise ConfigError(
            f"{found.path} holds adapters on {found.base}, a folder of this machine: nobody else "
            "could load them. Run `prefine export --merge` and push what it writes."
        )
    files = {path.name: path.stat().st_size for path in sorted(found.path.iterdir())}
    folders = [path.name for path in found.path.iterdir() if path.is_dir()]
    if folders:
        raise ConfigError(
            f"{found.path} holds folders ({', '.join(folders)}), which are no part of a model. "
            "Run `prefine export` and push what it writes."
        )
    return Upload(repository, private, found.path, found.kind, files, tuple(_notes(files)))


def _notes(files: Mapping[str, int]) -> list[str]:
    if CARD in files:
        return []
    return [f"there is no {CARD}: nobody will know what it was trained on"]


def push(upload: Upload, api: Any = None) -> str:
    """Upload a model.

    Args:
        upload: What `prepare_upload` returned.
        api: A `huggingface_hub.HfApi`; by default one with the account that is logged in.

    Returns:
        The address of the commit.

    Raises:
        PushError: If the Hub refuses it, or it was to be private and the repository is public.
    """
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi()
    name = upload.repository
    try:
        api.create_repo(name, repo_type="model", private=upload.private, exist_ok=True)
        if upload.private and not api.model_info(name).private:
            raise PushError(
                f"{name} exists and is public, so --private cannot hold. Nothing was uploaded: "
                "make it private on the Hub, or name another."
            )
        done = api.upload_folder(
            repo_id=name,
            repo_type="model",
            folder_path=str(upload.folder),
            allow_patterns=sorted(upload.files),
            commit_message="Upload with prefine",
        )
    except (OSError, ValueError) as error:  # what the Hub's client raises
        raise PushError(f"{name}: the Hub refused the upload. {error}") from error
    return str(done.commit_url)
