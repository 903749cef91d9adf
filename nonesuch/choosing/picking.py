"""Picks by hand: a catalog's log of picks, which accepts only images of the catalog, and ids by their first digits."""

from __future__ import annotations

from collections.abc import Iterable

from nonesuch.catalogs.picks import log as picks_log
from nonesuch.catalogs.picks.events import Event, checked_note, checked_stars, checked_tag
from nonesuch.catalogs.picks.log import PickLog
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.search.expressions import Where, each_condition, told_condition
from nonesuch.catalogs.search.lookup import by_recipe
from nonesuch.foundation.errors import InputError
from nonesuch.foundation.files import AnyPath


def open_picks(catalog: Catalog | AnyPath, who: str | None = None) -> PickLog:
    """The log of picks beside a catalog, open or by its path: who picked, rejected, starred, tagged or compared what.

    who  whose events are appended; by default the name of the operating system's user

    The file is made by the first event. Raises InputError when there is no catalog, and from the log's methods for
    recipe ids that the catalog does not have.
    """
    opened = catalog if isinstance(catalog, Catalog) else Catalog(catalog)
    return picks_log.open_picks(
        opened.folder, who, known=lambda recipe_id: bool(by_recipe(opened, recipe_id))
    )


def image_id(catalog: Catalog, beginning: str) -> str:
    """The whole recipe id of the one image whose id starts with `prefix`.

    Raises InputError when there is none or several, and for fewer than 4 hex digits.
    """
    found = sorted({str(row["recipe_id"]) for row in by_recipe(catalog, beginning)})
    if len(found) != 1:
        raise InputError(
            f"{len(found)} images have a recipe id that starts with these digits",
            where=beginning,
            hint="Give more digits." if found else "Take it from the recipe_id column.",
        )
    return found[0]


def chosen_ids(catalog: Catalog, where: Where) -> list[str]:
    """The recipe ids of all images that meet a condition, or all of several; failed ones, which have no image, are left out.

    Raises InputError as Catalog.query does, and when there is none.
    """
    wanted = each_condition(where, "status <> 'failed'")
    table = catalog.query(wanted, columns=["recipe_id"], as_arrow=True)
    ids = list(dict.fromkeys(table["recipe_id"].to_pylist()))
    if not ids:
        raise InputError("no image meets the condition", where=told_condition(where))
    return ids


def say(
    catalog: Catalog,
    ids: Iterable[str],
    *,
    who: str | None = None,
    pick: bool = False,
    reject: bool = False,
    clear: bool = False,
    stars: int | None = None,
    tags: Iterable[str] = (),
    untags: Iterable[str] = (),
    note: str | None = None,
) -> list[Event]:
    """Record one or more actions on images that are known to be in the catalog, each as one act.

    Raises InputError before anything is written when one of them is invalid.
    """
    log = picks_log.open_picks(catalog.folder, who)
    listed = list(ids)
    stars = None if stars is None else checked_stars(stars)
    tags, untags = [checked_tag(tag) for tag in tags], [checked_tag(tag) for tag in untags]
    note = None if note is None else checked_note(note)
    events: list[Event] = []
    if clear:
        events += log.clear(listed)
    if pick:
        events += log.pick(listed)
    if reject:
        events += log.reject(listed)
    if stars is not None:
        events += log.stars(listed, stars)
    for tag in tags:
        events += log.tag(listed, tag)
    for tag in untags:
        events += log.untag(listed, tag)
    if note is not None:
        events += log.note(listed, note)
    log.close()
    return events
