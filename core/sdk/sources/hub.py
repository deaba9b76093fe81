"""Models of the Hugging Face Hub: what of a repository is a model, brought here or found in the Hub's cache."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from pathlib import Path

from ...errors import ModelError, plural

DESCRIPTIONS = ("*.json", "*.jinja", "*.model", "*.txt")
"""Files that describe a model: its configuration, its tokenizer, its template."""

_PICKLED = "pytorch_model*.bin"
_PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$")


def fetch(name: str, notices: list[str], *, downloads: bool = True) -> Path:
    """Bring a model here and return its folder or file; where the Hub gives none, that of its cache.

    Of several formats in one repository safetensors are taken, then GGUF, then pickled weights.

    Args:
        name: ``org/name``, or ``org/name/FILE.gguf`` where a repository holds several.
        notices: is told why the snapshot was used.
        downloads: whether it may be; else it must be in the Hub's cache, were it but its description.

    Raises:
        ModelError: neither the Hub nor its cache has it, or it holds several GGUF models.
    """
    from huggingface_hub import constants

    repository, file = "/".join(name.split("/")[:2]), "/".join(name.split("/")[2:])
    folder, reason = None, None
    if downloads and not constants.HF_HUB_OFFLINE:
        try:
            folder = _download(repository, file)
        except (_http_error(), OSError, ValueError) as error:
            _refuse_for_good(name, error)
            reason = _reason(error)
    if folder is None:
        folder = _snapshot(name, repository, reason, downloads=downloads)
    if reason is not None:
        notices.append(f"model {name!r}: {reason}; the snapshot in the Hub's cache is used")
    if file and not (folder / file).is_file():
        raise ModelError(
            f"model {name!r}: the repository has no {file}, or it is not in the Hub cache", code="model-not-found"
        )
    return folder / file if file else folder


def _download(repository: str, file: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    files = [each.rfilename for each in HfApi().model_info(repository).siblings or ()]
    if file:
        return Path(snapshot_download(repository, allow_patterns=_of_file(file)))
    # "*" stands for folders too, and what lies in one is another model
    return Path(snapshot_download(repository, allow_patterns=wanted(repository, files), ignore_patterns=["*/*"]))


def _refuse_for_good(name: str, error: Exception) -> None:
    """Raise ``ModelError`` where the Hub says that the user may not have the model, or that there is none."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        raise ModelError(
            f"model {name!r} is gated on the Hub: accept its licence there, then run `hf auth login`",
            code="model-not-found",
        ) from error
    if isinstance(error, RepositoryNotFoundError) or _status(error) == 401:
        raise ModelError(
            f"model {name!r} is not on the Hub (or it is private: run `hf auth login`)", code="model-not-found"
        ) from error


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _reason(error: Exception) -> str:
    status = _status(error)
    return "the Hub cannot be reached" if status is None else f"the Hub, or a proxy before it, answers HTTP {status}"


def _snapshot(name: str, repository: str, reason: str | None, *, downloads: bool) -> Path:
    """Return the folder in the Hub's cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError) as error:
        if not downloads:
            raise ModelError(
                f"model {name!r} is not a local path and not in the Hub cache, and nothing is downloaded here; what "
                f"describes it is little: hf download {repository} --include '*.json'",
                code="model-not-found",
            ) from error
        raise ModelError(
            f"model {name!r} is not a local path, is not in the Hub cache, and {reason or 'HF_HUB_OFFLINE is set'}; "
            "check the name and the network, or give the path of a downloaded folder",
            code="model-not-found",
        ) from error


def _http_error() -> type[Exception]:
    """Return the base of what the Hub's library raises where it finds no way: of the HTTP client that it uses."""
    from huggingface_hub import errors

    found: type[Exception] = vars(errors)["HTTPError"]
    return found


def _of_file(file: str) -> list[str]:
    """Return the patterns of one GGUF model, in all its parts."""
    return [*DESCRIPTIONS, _PART.sub(r"-?????-of-\1.gguf", file)]


def wanted(repository: str, files: Sequence[str]) -> list[str]:
    """Return the patterns of the files that make a model of a repository's; what lies in a folder of it does not.

    Raises:
        ModelError: it holds several GGUF models and nothing else, or has weights in folders alone; names them.
    """
    top = [name for name in files if "/" not in name]
    for pattern in ("model*.safetensors", "*.safetensors"):  # some hold the same weights in their authors' form besides
        if fnmatch.filter(top, pattern):
            return [*DESCRIPTIONS, pattern]
    models = _models_in(top)
    if len(models) > 1:
        raise _several(repository, models)
    if models:
        return [*DESCRIPTIONS, "*.gguf"]
    if not fnmatch.filter(top, _PICKLED):
        _refuse_folders(repository, files)
    return [*DESCRIPTIONS, _PICKLED]


def _models_in(files: Sequence[str]) -> list[str]:
    return sorted({_PART.sub(r"-00001-of-\1.gguf", name) for name in fnmatch.filter(files, "*.gguf")})


def _several(repository: str, models: Sequence[str]) -> ModelError:
    names = ", ".join(f"{repository}/{name}" for name in models)
    return ModelError(
        f"{repository} holds {plural(len(models), 'GGUF model')}; name one: {names}", code="model-not-found"
    )


def _refuse_folders(repository: str, files: Sequence[str]) -> None:
    """Raise ``ModelError`` where all weights lie in folders of a repository."""
    folders = sorted({name.rpartition("/")[0] for name in fnmatch.filter(files, "*/*.safetensors")})
    if folders:
        raise ModelError(
            f"{repository} has its weights in {', '.join(f'{folder}/' for folder in folders)}, not at its top: hf "
            f"download {repository} --include '{folders[0]}/*', then name that folder",
            code="model-not-found",
        )
    if models := _models_in(files):
        raise _several(repository, models)
