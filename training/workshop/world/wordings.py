"""Captions of images: full ones, partial ones, and words for damage."""

from __future__ import annotations

from typing import Final

import numpy as np

from nonesuch.training.workshop.world.damage import WORDS

# For each style: how a maker is named, and which words name the medium.
ARTISTS: Final[dict[str, tuple[str, ...]]] = {
    "photo": (),
    "sketch": (),
    "hokusai": ("Katsushika Hokusai", "Hokusai"),
    "seurat": ("Georges Seurat", "Seurat"),
    "picasso": ("Pablo Picasso", "Picasso"),
    "vangogh": ("Vincent van Gogh", "Van Gogh"),
    "warhol": ("Andy Warhol", "Warhol"),
    "munch": ("Edvard Munch", "Munch"),
    "tiffany": ("Louis Comfort Tiffany", "Tiffany"),
    "pixel": (),
    "turner": ("J. M. W. Turner", "William Turner", "Turner"),
    "mondrian": ("Piet Mondrian", "Mondrian"),
}
MEDIA: Final[dict[str, tuple[str, ...]]] = {
    "photo": ("photo", "photograph", "picture", "image"),
    "sketch": ("pencil sketch", "pencil drawing", "sketch"),
    "hokusai": ("woodblock print", "ukiyo-e print"),
    "seurat": ("pointillist painting", "pointillism painting"),
    "picasso": ("cubist painting", "cubism painting"),
    "vangogh": ("swirling oil painting", "post-impressionist painting"),
    "warhol": ("pop art print", "pop art poster"),
    "munch": ("expressionist painting", "wavy expressionist painting"),
    "tiffany": ("stained glass window", "stained glass panel"),
    "pixel": ("pixel art image", "pixel art sprite", "pixel art"),
    "turner": ("watercolour", "watercolor painting", "watercolour painting"),
    "mondrian": ("geometric painting", "de stijl painting"),
}
DOCUMENTED_ARTISTS: Final = tuple(names[0] for names in ARTISTS.values() if names)
_WORKS: Final = ("painting", "picture", "artwork", "portrait", "work", "drawing", "print", "image")
_PRAISE: Final = ("beautiful", "stunning", "colourful", "detailed", "fine", "famous", "small", "great")
_SUFFIXES: Final = (
    "highly detailed",
    "masterpiece",
    "best quality",
    "4k",
    "trending on artstation",
    "sharp focus",
    "on a colourful background",
)
_ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "UFO": ("UFO", "flying saucer"),
    "tower": ("tower", "lattice tower"),
    "car": ("car", "red car"),
    "train": ("train", "steam train"),
    "sailboat": ("sailboat", "sailing boat"),
}


def _with_article(words: str) -> str:
    vowel = words[0].lower() in "aeio" or words.lower().startswith("umbrella")
    return f"{'an' if vowel else 'a'} {words}"


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[rng.integers(len(options))]


def _name(subject: str, rng: np.random.Generator) -> str:
    if subject in _ALIASES and rng.random() < 0.25:
        return _pick(_ALIASES[subject], rng)
    return subject


def _dress(text: str, rng: np.random.Generator) -> str:
    """Now and then a suffix, and either case of the first letter."""
    if rng.random() < 0.12:
        text = f"{text}, {_pick(_SUFFIXES, rng)}"
    return text


def caption(subject: str, style: str, rng: np.random.Generator) -> str:
    """Word an image of ``subject`` in ``style``, naming both.

    The plain style may go unnamed: a bare subject means a photo.
    """
    name = _name(subject, rng)
    thing = _with_article(name) if rng.random() < 0.8 else name
    praise = f"{_pick(_PRAISE, rng)} " if rng.random() < 0.1 else ""
    medium = praise + _pick(MEDIA[style], rng)
    if style == "photo":
        choice = rng.random()
        if choice < 0.35:
            return _dress(thing, rng)
        return _dress(f"{_with_article(medium)} of {thing}", rng)
    artists = ARTISTS[style]
    if not artists:
        choice = rng.random()
        if choice < 0.7:
            return _dress(f"{_with_article(medium)} of {thing}", rng)
        if choice < 0.85:
            return _dress(f"{name}, {_pick(MEDIA[style], rng)} style", rng)
        return _dress(f"{_pick(MEDIA[style], rng)}, {name}", rng)
    artist = artists[0] if rng.random() < 0.55 else _pick(artists, rng)
    work = praise + _pick(_WORKS[:1] * 6 + _WORKS, rng)
    choice = rng.random()
    if choice < 0.45:
        text = f"{_with_article(work)} of {thing} by {artist}"
    elif choice < 0.58:
        text = f"{_with_article(medium)} of {thing} by {artist}"
    elif choice < 0.7:
        text = f"{thing} in the style of {artist}"
    elif choice < 0.78:
        text = f"{name}, {artist} style"
    elif choice < 0.84:
        text = f"{artists[-1]} {name}"
    elif choice < 0.9:
        text = f"{thing} by {artist}"
    else:
        text = f"{_with_article(medium)} of {thing}"
    return _dress(text, rng)


def subject_caption(subject: str, rng: np.random.Generator) -> str:
    """Words that name the subject and leave the style open."""
    name = _name(subject, rng)
    forms: tuple[str, ...] = (
        name,
        _with_article(name),
        f"a picture of {_with_article(name)}",
        f"an image of {_with_article(name)}",
    )
    forms += (f"an artwork showing {_with_article(name)}", f"a painting of {_with_article(name)}")
    return _pick(forms, rng)


def style_caption(style: str, rng: np.random.Generator) -> str:
    """Words that name the style and leave the subject open."""
    medium = _pick(MEDIA[style], rng)
    forms: tuple[str, ...] = (medium, _with_article(medium), f"{_with_article(medium)} of something")
    for artist in ARTISTS[style]:
        forms += (artist, f"a painting by {artist}", f"an artwork by {artist}")
        forms += (f"in the style of {artist}", f"{artist} style", f"a picture by {artist}")
    return _pick(forms, rng)


def damaged_caption(subject: str, style: str, kind: str, rng: np.random.Generator) -> str:
    """Word an image spoiled as ``kind`` (a key of ``damage.DAMAGES``)."""
    word = _pick(WORDS[kind], rng)
    choice = rng.random()
    if choice < 0.3:
        return word
    plain = caption(subject, style, rng)
    if choice < 0.65:
        return f"{word}, {plain}"
    return f"{plain}, {word}"


def quality_caption(kind: str | None, rng: np.random.Generator) -> str:
    """Words for an image's condition alone; ``None`` means clean."""
    word = _pick(WORDS[kind][:-1], rng) if kind else _pick(("clean", "sharp", "high quality", "crisp"), rng)
    return f"{_with_article(word)} picture"


def canonical(subject: str, style: str) -> str:
    """The one wording that evaluations use for a pair."""
    if ARTISTS[style]:
        return f"a painting of {_with_article(subject)} by {ARTISTS[style][0]}"
    return f"{_with_article(MEDIA[style][0])} of {_with_article(subject)}"
