"""The images that a LoRA is trained on: found, read within limits, cropped square, with their captions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import RGB, read_limited
from nonesuch.generators.init_images import picture_digest, start_picture

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".tif", ".tiff"})
MAX_PICTURES: Final = 10_000
MAX_CAPTION: Final = 4096  # bytes


@dataclass(frozen=True, slots=True)
class TrainingPicture:
    """One image of the subject."""

    name: str  # of its file
    digest: str  # SHA-256 of its file
    caption: str | None  # of NAME.txt beside it; {subject} stands for the subject
    pixels: RGB  # uint8 [side, side, 3]


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder holds."""

    pictures: tuple[TrainingPicture, ...]  # in the order of their names
    left_out: tuple[tuple[str, str], ...]  # (file name, why) of what could not be read

    @property
    def digests(self) -> tuple[str, ...]:
        """What decides a training: each image's digest with its caption, in order."""
        return tuple(f"{one.digest}:{one.caption or ''}" for one in self.pictures)


def read_pictures(folder: Path, side: int) -> Found:
    """The images of a folder at side x side pixels: the middle square, upright as their EXIF says.

    An image that can't be read, and the second of two equal files, is left out and named; the others train.
    Raises InputError when the folder is missing or holds none that can be used.
    """
    if not folder.is_dir():
        raise InputError(
            "is not a folder", where=str(folder), hint="Give the folder of the subject's images."
        )
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if len(files) > MAX_PICTURES:
        raise InputError(f"holds {len(files):,} images; the limit is {MAX_PICTURES:,}", where=str(folder))
    pictures: list[TrainingPicture] = []
    left_out: list[tuple[str, str]] = []
    for path in files:
        try:
            digest = picture_digest(path, where=path.name)
            if any(one.digest == digest for one in pictures):
                raise InputError("the same file is there under another name")
            caption = _caption(path.with_suffix(".txt"))
            pictures.append(
                TrainingPicture(path.name, digest, caption, start_picture(path, digest, side, side, "crop"))
            )
        except InputError as error:
            left_out.append((path.name, error.message))
    if not pictures:
        why = f" ({left_out[0][0]}: {left_out[0][1]})" if left_out else ""
        raise InputError(
            f"holds no image that can be used{why}",
            where=str(folder),
            hint=f"Known endings: {', '.join(sorted(SUFFIXES))}.",
        )
    return Found(tuple(pictures), tuple(left_out))


def folder_digest(found: Found) -> str:
    """SHA-256 over the sorted digests of the images: one name for the set."""
    import hashlib

    return hashlib.sha256("\n".join(sorted(one.digest for one in found.pictures)).encode()).hexdigest()


def _caption(path: Path) -> str | None:
    if not path.is_file():
        return None
    try:
        return " ".join(read_limited(path, max_bytes=MAX_CAPTION).decode("utf-8-sig").split()) or None
    except UnicodeDecodeError as error:
        raise InputError(f"its caption {path.name} is not UTF-8 text") from error
