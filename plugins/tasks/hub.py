"""Data sets of the Hugging Face Hub: at a pinned revision, kept on disk, or placed by hand.

``$DECODEBENCH_DATA`` (by default the user's data folder) holds both: ``gsm8k/test.jsonl`` is what somebody placed by
hand, and ``hub/openai--gsm8k/<revision>/main/test.jsonl`` is what the library ``datasets`` fetched once. From then on
neither the network nor that library is needed.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ... import DecodebenchError, UsageError, write_whole
from .rows import SUFFIXES, Row, read_rows

DATA_VARIABLE = "DECODEBENCH_DATA"


def data_folder() -> Path:
    """Return the folder of data sets: ``DECODEBENCH_DATA``, or ``data`` in the user's data folder."""
    override = os.environ.get(DATA_VARIABLE)
    if override:
        return Path(override)
    from platformdirs import user_data_path

    return user_data_path("decodebench", appauthor=False) / "data"


@dataclass(frozen=True, slots=True)
class HubData:
    """A data set of the Hub.

    Attributes:
        folder: of files placed by hand, within the data folder.
        dataset: its id.
        revision: the commit that is read, 40 hexadecimal digits.
        config: the configuration, None where there is but one.
        is_gated: its terms must be accepted before it can be fetched.
    """

    folder: str
    dataset: str
    revision: str
    config: str | None = None
    is_gated: bool = False

    @property
    def url(self) -> str:
        """The page of the revision."""
        return f"https://huggingface.co/datasets/{self.dataset}/tree/{self.revision}"

    def rows(self, split: str, columns: tuple[str, ...]) -> tuple[Row, ...]:
        """Return a split: what was placed by hand, else what was fetched before, else what the Hub gives.

        Args:
            split: its name on the Hub, and of the file placed by hand.
            columns: those that each row must have.

        Raises:
            UsageError: it cannot be had; says what to do, and which file with which columns may be placed where.
        """
        for path in self._by_hand(split):
            if path.is_file():
                return read_rows(path, columns)
        kept = self._kept(split)
        if not kept.is_file():
            self._keep(kept, self._fetched(split, columns))
        return read_rows(kept, columns)

    def _by_hand(self, split: str) -> list[Path]:
        return [data_folder() / self.folder / f"{split}{suffix}" for suffix in SUFFIXES]

    def _kept(self, split: str) -> Path:
        folder = data_folder() / "hub" / self.dataset.strip("/").replace("/", "--") / self.revision
        return folder / (self.config or "default") / f"{split}.jsonl"

    def _fetched(self, split: str, columns: tuple[str, ...]) -> Iterable[dict[str, Any]]:
        if find_spec("datasets") is None:
            raise self._missing(
                split, columns, "the library `datasets` is not installed", "pip install 'decodebench[tasks]'"
            )
        if self.is_gated and not _has_token():
            raise self._missing(split, columns, "it is gated and there is no token", self._how_to_be_let_in())
        unreachable = _no_such_host()
        if unreachable and not Path(self.dataset).exists():
            raise self._missing(split, columns, unreachable, "try again where it can be reached")
        import datasets

        try:
            return list(datasets.load_dataset(self.dataset, self.config, split=split, revision=self.revision))
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            advice = self._how_to_be_let_in() if self.is_gated else "try again where huggingface.co can be reached"
            raise self._missing(split, columns, reason, advice) from error

    def _how_to_be_let_in(self) -> str:
        return (
            f"accept its terms at https://huggingface.co/datasets/{self.dataset}, make a token with read access at "
            "https://huggingface.co/settings/tokens, then `hf auth login` or HF_TOKEN=..."
        )

    def _missing(self, split: str, columns: tuple[str, ...], reason: str, advice: str) -> UsageError:
        files = self._by_hand(split)
        others = ", ".join(path.suffix for path in files[1:])
        return UsageError(
            f"cannot get {self.dataset} ({split}): {reason}; {advice}\n"
            f"or place the file by hand: {files[0]} (or {others}) with the columns {', '.join(columns)}",
            code="dataset-missing",
        )

    def _keep(self, path: Path, rows: Iterable[dict[str, Any]]) -> None:
        """Write the rows as JSON lines, whole or not at all."""
        try:
            write_whole(path, "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows))
        except DecodebenchError as error:
            raise UsageError(
                f"cannot keep {self.dataset}: {error}; {DATA_VARIABLE} names another folder", code="write-failed"
            ) from error


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _no_such_host() -> str | None:
    """Say that the Hub's name leads nowhere: the library would try for half a minute before it gives up."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    from huggingface_hub import constants

    host = urlsplit(constants.ENDPOINT).hostname
    if constants.HF_HUB_OFFLINE or getproxies() or host is None:
        return None
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        return f"{host} cannot be found ({error.strerror})"
    return None
