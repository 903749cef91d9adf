"""A verdict in plain words: what was found, what that means, and what it does not mean.

Nothing here says that an image is real, and nothing says more than the evidence does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nonesuch.provenance.evidence import Confidence
from nonesuch.provenance.verifying.verdict import Verdict
from nonesuch.web.facts import Finding, facts, findings, plain, recipe_lines, sentence


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict as the page shows it. All strings may hold foreign text: escape them."""

    tone: str  # the verdict's name, or "unreadable"; chooses the colour
    headline: str
    lead: str  # one sentence under the headline
    level: int  # 0–3, how certain
    sure: str  # the same in words
    found: tuple[Finding, ...]
    means: tuple[str, ...]
    does_not_mean: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]  # label and value
    recipe: tuple[tuple[str, str], ...]  # how it was made, if the file or the catalog says so


def explain(verdict: Verdict) -> Explanation:
    """The explanation of a verdict."""
    tone, headline = _headline(verdict)
    level, sure = _SURE[verdict.confidence]
    return Explanation(
        tone=tone,
        headline=headline,
        lead=_lead(verdict, tone),
        level=level,
        sure=sure,
        found=findings(verdict),
        means=_means(verdict, tone),
        does_not_mean=_does_not_mean(verdict, tone),
        facts=facts(verdict),
        recipe=recipe_lines(verdict.recipe),
    )


_SURE: dict[Confidence, tuple[int, str]] = {
    "none": (0, "No evidence"),
    "claimed": (1, "Claimed, not proven"),
    "strong": (2, "Strong evidence"),
    "proven": (3, "Proven"),
}

_HEADLINES = {
    "ai-generated": "AI-generated",
    "ai-edited": "Edited with AI",
    "captured": "Captured by a camera, according to its signer",
    "no-evidence": "No evidence of where it came from",
    "conflict": "The evidence contradicts itself",
    "unreadable": "This could not be read as an image",
}

_CLAIMED_HEADLINES = {
    "ai-generated": "Claimed to be AI-generated",
    "ai-edited": "Claimed to be edited with AI",
}


def _headline(verdict: Verdict) -> tuple[str, str]:
    tone: str = verdict.verdict
    if tone == "no-evidence" and verdict.error is not None and verdict.integrity == "unreadable":
        tone = "unreadable"
    if verdict.confidence == "claimed" and tone in _CLAIMED_HEADLINES:
        return tone, _CLAIMED_HEADLINES[tone]
    return tone, _HEADLINES[tone]


def _lead(verdict: Verdict, tone: str) -> str:
    if tone == "unreadable":
        return f"{sentence(verdict.error)} There is no verdict on it."
    if tone == "no-evidence":
        if verdict.integrity == "unsigned":
            return "Nothing in this file or its pixels says how the image was made."
        return "The file has a credential, but none that says how the image was made."
    if tone == "conflict":
        return "The findings can't all be true."
    if tone == "captured":
        return "A signer on the trust list states that a camera took this image, and the image is unchanged."
    what = (
        "a generative model made this image"
        if tone == "ai-generated"
        else "a generative model made parts of this image"
    )
    if verdict.confidence == "proven":
        return f"A valid signature backs the statement that {what}."
    if verdict.confidence == "strong":
        return _strong_lead(_deciding(verdict), what)
    if verdict.integrity == "altered":
        return f"Its credential says that {what}, but the image has changed since that was signed."
    return f"Text in the file says that {what}. Anyone could have written it."


def _strong_lead(kinds: set[str], what: str) -> str:
    if kinds & {"credential", "ingredient"}:
        return f"A signed credential says that {what}; it is not known who holds the signing key."
    if "catalog" in kinds:
        return f"The catalog has a record of this image, which says that {what}."
    return f"An invisible watermark in the pixels says that {what}."


def _deciding(verdict: Verdict) -> set[str]:
    """The kinds of evidence that the verdict and its confidence come from."""
    return {
        item.kind.partition(":")[0]
        for item in verdict.evidence
        if item.says == verdict.verdict and item.confidence == verdict.confidence
    }


def _means(verdict: Verdict, tone: str) -> tuple[str, ...]:
    said: list[str] = []
    kinds = _deciding(verdict)
    if tone in ("ai-generated", "ai-edited"):
        if verdict.confidence == "proven":
            said.append("The signature is valid: the statement is the signer's, and it was not changed.")
        elif kinds & {"credential", "ingredient"} and verdict.confidence == "strong":
            said.append("Whoever holds the signing key made that statement, and nobody has changed it since.")
        if "watermark" in kinds:
            said.append(_watermark_sentence(verdict.watermark))
        if "catalog" in kinds:
            said.append(_catalog_sentence(verdict.catalog))
        if verdict.confidence == "claimed":
            said.append("A person or a program put this statement there. It may be true.")
    elif tone == "captured":
        said.append("The signer's device or software recorded this image, and it signed exactly these bytes.")
    elif tone == "conflict":
        said.append(
            "Someone may have copied a watermark or a credential from another image, or edited this one "
            "after it was signed. Read what was found below, and trust neither side."
        )
    elif tone == "no-evidence" and not verdict.evidence:
        said.append(
            "There is no credential, watermark, known metadata or catalog record of its origin. "
            "This is the case for most images on the web."
        )
    elif tone == "no-evidence":
        said.append("The findings are about other things: who signed, or which program saved the file.")
    if verdict.integrity == "altered":
        said.append(
            "The image or its credential was changed after signing, so the credential only counts as a claim."
        )
    if verdict.integrity == "unreadable" and tone != "unreadable":
        said.append("It has a credential that is too damaged to be read.")
    if verdict.integrity == "intact":
        said += _signer_sentences(verdict)
    if verdict.error is not None and tone != "unreadable":
        said.append(f"The file could not be read completely: {sentence(verdict.error)}")
    return tuple(said)


def _signer_sentences(verdict: Verdict) -> list[str]:
    who = plain(verdict.signed_by or "The signer")
    said = ["The image is unchanged since it was signed."]
    if verdict.trust == "listed":
        said.append(f"{who} is on the trust list.")
    elif verdict.trust == "own":
        said.append(f"{who} is trusted here: it is one of this server's own anchors, not on the public list.")
    elif verdict.trust == "unlisted":
        said.append(f"{who} is on no trust list, so only the signer itself vouches for the name.")
    if verdict.time == "expired-untimestamped":
        said.append(
            "The signer's certificate has expired since, and no timestamp shows when it signed. That is common, "
            "and does not mean that anyone changed the image."
        )
    return said


def _watermark_sentence(found: dict[str, Any] | None) -> str:
    chance = (found or {}).get("false_alarm")
    odds = ""
    if isinstance(chance, float) and 0 < chance < 1:
        odds = f" An image without a watermark is mistaken for a watermarked one less than once in {10 ** min(12, math.floor(-math.log10(chance))):,} checks."
    return f"The pixels themselves carry nonesuch's invisible watermark, which survives the removal of metadata.{odds}"


def _catalog_sentence(match: dict[str, Any] | None) -> str:
    how = {
        "digest": "It is identical, byte for byte, to a file of the catalog.",
        "watermark": "Its watermark leads to a record of the catalog, and the record shows this image.",
        "fingerprint": "It looks the same as an image of the catalog.",
    }
    return how.get(str((match or {}).get("found_by")), "The catalog has a record of it.")


_LIMITS = {
    "ai-generated": (
        "It does not say who wrote the prompt, nor whether what the image shows exists or happened.",
        "It does not say how much people changed it afterwards.",
    ),
    "ai-edited": (
        "It does not say which parts a model made, nor how much they matter.",
        "It does not vouch for the rest of the image.",
    ),
    "captured": (
        "It does not mean that the scene is what it seems: a camera can photograph a screen, a print or a play.",
        "It is only as reliable as the signer, and as the protection of the signer's keys.",
    ),
    "no-evidence": (
        "It does not mean that a camera or a person made it, or that it can be trusted: most sites strip "
        "credentials, and many generators add no watermark and no credential.",
        "It does not mean that a model made it either.",
    ),
    "conflict": ("It does not say which piece of evidence is false.",),
    "unreadable": (
        "It says nothing about the image, if there is one: only that this file could not be opened.",
    ),
}


def _does_not_mean(verdict: Verdict, tone: str) -> tuple[str, ...]:
    said = list(_LIMITS[tone])
    if tone in ("ai-generated", "ai-edited") and verdict.confidence == "claimed":
        said.insert(0, "It is not proof: such text can be added to any image, and removed from any.")
    if tone == "ai-generated" and "watermark" in _deciding(verdict):
        said.append("A watermark can be copied onto another image; compare with the catalog if you have it.")
    if (verdict.catalog or {}).get("found_by") == "fingerprint":
        said.append(
            "An image that looks the same may not be the same: a close copy or another edit matches too."
        )
    return tuple(said)
