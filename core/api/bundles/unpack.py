"""Unpacking a bundle of somebody else: within limits, into a folder that it cannot leave."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path

from pydantic import ValidationError

from ...errors import UsageError
from ...files import size_text, whole_folder
from .manifest import FORMAT, MANIFEST, PLACE, PLAN, Manifest, PackedFile

MOST_BYTES = 4 * 2**30
MOST_FILES = 100_000
_MOST_MANIFEST_BYTES = 64 * 2**20
_CHUNK_BYTES = 2**20
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)


def read_manifest(bundle: Path) -> Manifest:
    """Return what a bundle says of itself, after a check of every name and size in it.

    Raises:
        UsageError: it is no bundle, one of a later format, or it holds what a bundle does not.
    """
    try:
        with zipfile.ZipFile(bundle) as archive:
            entries = archive.infolist()
            if not any(entry.filename == MANIFEST for entry in entries):
                raise UsageError(f"{bundle} is not a bundle: {MANIFEST} is missing", code="bundle-damaged")
            text = _content(archive, bundle, MANIFEST, _MOST_MANIFEST_BYTES)
    except _BROKEN as error:
        raise UsageError(f"{bundle} cannot be read as a ZIP file: {error}", code="bundle-damaged") from error
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"{bundle}: {MANIFEST}: field {where!r}: {first['msg']}; was it written by a newer version?",
            code="bundle-damaged",
        ) from error
    if manifest.format != FORMAT:
        raise UsageError(
            f"{bundle}: format {manifest.format}, supported is {FORMAT}: update decodebench", code="bundle-damaged"
        )
    _check(bundle, manifest, [entry.filename for entry in entries])
    return manifest


def unpack(bundle: Path, folder: Path) -> Manifest:
    """Write the files of a bundle into a folder that is not there yet, whole or not at all.

    Raises:
        UsageError: as ``read_manifest``; the folder is there; a file is not what the manifest says.
        OSError: the folder cannot be written.
    """
    manifest = read_manifest(bundle)
    if folder.exists():
        raise UsageError(f"{folder} exists already: give another --output", code="path-taken")
    with whole_folder(folder) as scratch:
        try:
            with zipfile.ZipFile(bundle) as archive:
                for place, told in manifest.files.items():
                    _write(archive, bundle, place, told, scratch / place)
        except _BROKEN as error:
            raise UsageError(f"{bundle} cannot be read: {error}", code="bundle-damaged") from error
        (scratch / MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")
    return manifest


def _check(bundle: Path, manifest: Manifest, names: list[str]) -> None:
    """Refuse more files or bytes than a bundle may have, and any file that is elsewhere or not in the manifest."""
    if len(names) > MOST_FILES or sum(told.bytes for told in manifest.files.values()) > MOST_BYTES:
        raise UsageError(
            f"{bundle}: more than {MOST_FILES} files or {size_text(MOST_BYTES)}; a bundle may not have more",
            code="bundle-damaged",
        )
    for name in manifest.files:
        if not PLACE.fullmatch(name):
            raise UsageError(f"{bundle}: file {name!r} has a path that a bundle cannot have", code="bundle-damaged")
    if sorted(names) != sorted([*manifest.files, MANIFEST]):
        odd = sorted(set(names) ^ {*manifest.files, MANIFEST}) or sorted(names)
        raise UsageError(f"{bundle}: the manifest and the files in it differ: {odd[0]!r}", code="bundle-damaged")
    if PLAN not in manifest.files:
        raise UsageError(f"{bundle}: {PLAN} is missing", code="bundle-damaged")


def _content(archive: zipfile.ZipFile, bundle: Path, name: str, most: int) -> bytes:
    """Read at most so many bytes of a file, whatever size it states."""
    with archive.open(name) as file:
        text = file.read(most + 1)
    if len(text) > most:
        raise UsageError(f"{bundle}: {name} has more than {most} bytes", code="bundle-damaged")
    return text


def _write(archive: zipfile.ZipFile, bundle: Path, place: str, told: PackedFile, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), told.bytes
    with archive.open(place) as source, target.open("xb") as file:
        while part := source.read(min(_CHUNK_BYTES, left + 1)):
            left -= len(part)
            if left < 0:
                break
            digest.update(part)
            file.write(part)
    if left != 0 or digest.hexdigest() != told.sha256:
        raise UsageError(
            f"{bundle}: {place} is not what the manifest says: the bundle is damaged or was changed",
            code="bundle-damaged",
        )
