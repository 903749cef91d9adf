"""The metadata reader `example-comment`: PNG text `Comment` that begins with "drawn by Example"."""

from __future__ import annotations

from nonesuch.plugins import Finding, Source, recipe

SIGN = "drawn by Example: "


class ExampleComment:
    """Finds the program's own comment; anybody may write one, so it is no more than a claim."""

    def read(self, source: Source) -> Finding | None:
        comment = source.texts.get("Comment", "")
        if not comment.startswith(SIGN):
            return None
        prompt = comment.removeprefix(SIGN)
        detail = f"A comment of the program Example names the prompt {prompt!r}"
        return Finding("example-comment", "ai-generated", "claimed", detail, "Example", recipe(prompt=prompt))
