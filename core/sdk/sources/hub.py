"""Models of the Hugging Face Hub: what of a repository is a model, brought here or found in the Hub's cache."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from pathlib import Path

from ...errors import ModelError

DESCRIPTIONS = ("*.json", "*.jinja", "*.model", "*.txt")
"""Files that describe a model: its configuration, its tokenizer, its template."""

_PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$")


def fetch(name: str, *, downloads: bool = True) -> Path:
    """Bring a model here and return its folder or file; offline, a snapshot in the Hub's cache is as good.

    Of several formats in one repository safetensors are taken, then GGUF, then pickled weights.

    Args:
        name: ``org/name``, or ``org/name/FILE.gguf`` where a repository holds several.
        downloads: whether it may be; else it must be in the Hub's cache, were it but its description.

    Raises:
        ModelError: the Hub cannot give it, or it holds several GGUF models.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    repository, file = "/".join(name.split("/")[:2]), "/".join(name.split("/")[2:])
    try:
        files = _listed(repository) if downloads else None
        patterns = None if files is None else _of_file(file) if file else wanted(repository, files)
        folder = Path(snapshot_download(repository, allow_patterns=patterns, local_files_only=files is None))
    except GatedRepoError as error:
        raise ModelError(
            f"model {name!r} is gated on the Hub: accept its licence there, then run `hf auth login`",
            code="model-not-found",
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"model {name!r} is not on the Hub (or it is private: run `hf auth login`)", code="model-not-found"
        ) from error
    except (LocalEntryNotFoundError, _http_error(), OSError, ValueError) as error:
        if not downloads:
            raise ModelError(
                f"model {name!r} is not a local path and not in the Hub cache, and nothing is downloaded here; what "
                f"describes it is little: hf download {repository} --include '*.json'",
                code="model-not-found",
            ) from error
        raise ModelError(
            f"model {name!r} is not a local path, is not in the Hub cache, and the Hub cannot be reached; "
            "check the name and the network, or give the path of a downloaded folder",
            code="model-not-found",
        ) from error
    if file and not (folder / file).is_file():
        raise ModelError(
            f"model {name!r}: the repository has no {file}, or it is not in the Hub cache", code="model-not-found"
        )
    return folder / file if file else folder


def _listed(repository: str) -> list[str] | None:
    """Return the files of a repository; None where the Hub cannot be reached."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return [file.rfilename for file in HfApi().model_info(repository).siblings or ()]
    except HfHubHTTPError:  # it can be, and says no
        raise
    except (_http_error(), OSError):
        return None


def _http_error() -> type[Exception]:
    """Return the base of what the Hub's library raises where it finds no way: of the HTTP client that it uses."""
    from huggingface_hub import errors

    found: type[Exception] = vars(errors)["HTTPError"]
    return found


def _of_file(file: str) -> list[str]:
    """Return the patterns of one GGUF model, in all its parts."""
    return [*DESCRIPTIONS, _PART.sub(r"-?????-of-\1.gguf", file)]


def wanted(repository: str, files: Sequence[str]) -> list[str]:
    """Return the patterns of the files that make a model of a repository's.

    Raises:
        ModelError: it holds several GGUF models and nothing else; names them.
    """
    for pattern in ("model*.safetensors", "*.safetensors"):  # some hold the same weights in their authors' form besides
        if fnmatch.filter(files, pattern):
            return [*DESCRIPTIONS, pattern]
    models = sorted({_PART.sub(r"-00001-of-\1.gguf", name) for name in fnmatch.filter(files, "*.gguf")})
    if len(models) > 1:
        raise ModelError(
            f"{repository} holds {len(models)} GGUF models; name one: "
            + ", ".join(f"{repository}/{name}" for name in models),
            code="model-not-found",
        )
    return [*DESCRIPTIONS, "*.gguf"] if models else [*DESCRIPTIONS, "pytorch_model*.bin"]
