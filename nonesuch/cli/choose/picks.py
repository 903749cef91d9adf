"""`nonesuch pick`, `picks`, `prefer`, `ranking`, `agreement` and `taste`: choosing, and learning from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nonesuch.cli.choose.query_sheet import SHOWN, CatalogFolder, Raw, Where
from nonesuch.cli.choose.stats_dedupe_compact import AsJson

if TYPE_CHECKING:
    from nonesuch.catalogs.picks.events import Event

Who = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name of the user who picked; default: your user name.")
]
AsCsv = Annotated[bool, typer.Option("--csv", help="CSV with a header.")]
_SHORT = 12  # digits of a recipe id in a table

taste = typer.Typer(no_args_is_help=True, help="Learn a person's taste from picks, and rank by it.")


def add_commands(app: typer.Typer) -> None:
    """Put this module's commands on the command line."""
    app.command()(pick)
    app.command()(picks)
    app.command()(prefer)
    app.command()(ranking)
    app.command()(agreement)
    taste.command("train")(taste_train)
    taste.command("rank")(taste_rank)
    app.add_typer(taste, name="taste")


def pick(
    catalog: CatalogFolder,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID…", help="Recipe ids, or their first digits.")
    ] = None,
    where: Where = None,
    yes: Annotated[bool, typer.Option("--yes", help="Apply it to every image that --where finds.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Reject instead of pick.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the pick or reject, and the stars.")] = False,
    stars: Annotated[int | None, typer.Option(metavar="N", help="Give 1 to 5 stars.")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Add a tag; may be repeated.")] = None,
    untag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="Remove a tag; may be repeated.")
    ] = None,
    note: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Set the note; an empty one removes it.")
    ] = None,
    who: Who = None,
) -> None:
    """Pick images, reject them, give stars, tags or a note. Prints the affected ids."""
    from nonesuch.catalogs.query import Catalog
    from nonesuch.choosing.picking import chosen_ids, image_id, say

    if bool(ids) == bool(where):
        raise typer.BadParameter("name images either by their ids or with --where")
    if reject and clear:
        raise typer.BadParameter("choose one of --reject and --clear")
    opened = Catalog(catalog)
    if not where:
        chosen = [image_id(opened, beginning) for beginning in ids or ()]
    else:
        chosen = chosen_ids(opened, where)
        if not yes:
            typer.echo(f"{len(chosen):,} images meet the condition; add --yes to apply", err=True)
            raise typer.Exit(2)
    other = reject or clear or stars is not None or tag or untag or note is not None
    say(
        opened,
        chosen,
        who=who,
        pick=not other,
        reject=reject,
        clear=clear,
        stars=stars,
        tags=tag or (),
        untags=untag or (),
        note=note,
    )
    for recipe_id in chosen:
        print(recipe_id)


def picks(
    catalog: CatalogFolder,
    log: Annotated[bool, typer.Option("--log", help="List every event instead, undone ones too.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Undo your last action.")] = False,
    redo: Annotated[bool, typer.Option("--redo", help="Redo your last undo.")] = False,
    pairs: Annotated[
        Path | None,
        typer.Option(metavar="FILE.parquet", help="Write preferences as pairs of images, like Pick-a-Pic's."),
    ] = None,
    with_images: Annotated[
        bool, typer.Option("--with-images", help="Include the image files' bytes in the pairs.")
    ] = False,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """List picks, stars and notes of a catalog. Or undo them, or write them as pairs to train on."""
    from nonesuch.catalogs.query import Catalog
    from nonesuch.choosing.picking import open_picks

    if sum((log, undo, redo, pairs is not None)) > 1:
        raise typer.BadParameter("choose one of --log, --undo, --redo and --pairs")
    opened = Catalog(catalog)
    said = open_picks(opened, who)
    if undo or redo:
        event = said.undo() if undo else said.redo()
        if event is None:
            typer.echo(f"{said.who} has nothing to {'undo' if undo else 'redo'}", err=True)
            raise typer.Exit(1)
        for undone in said.events(since=event.id - 1):
            if undone.act == event.act:
                print(undone.recipe_id)
    elif pairs is not None:
        from nonesuch.catalogs.picks.training_pairs import write_pairs

        written = write_pairs(opened, said, pairs, images=with_images)
        typer.echo(
            f"{written.comparisons:,} comparisons and {written.from_verdicts:,} pairs of a picked over a rejected image; "
            f"left out: {written.other_prompts:,} comparisons across prompts, {written.gone:,} whose images are gone",
            err=True,
        )
        print(pairs)
    elif log:
        _show([_event(event, short=not as_json) for event in said.events()], as_json)
    else:
        states = said.states(who=said.who if who else None)
        rows = [
            {
                "recipe_id": recipe_id if as_json else recipe_id[:_SHORT],
                "pick": state.verdict,
                "stars": state.stars,
                "tags": list(state.tags) if as_json else ", ".join(state.tags),
                "note": state.note,
                "who": state.who,
                "when": state.when if as_json else f"{state.when:%Y-%m-%d %H:%M}",
            }
            for recipe_id, state in sorted(states.items(), key=lambda item: item[1].when, reverse=True)
        ]
        _show(rows, as_json)


def prefer(
    catalog: CatalogFolder,
    winner: Annotated[str, typer.Argument(metavar="WINNER", help="Recipe id of the better image.")],
    loser: Annotated[str, typer.Argument(metavar="LOSER", help="Recipe id of the other image.")],
    who: Who = None,
) -> None:
    """Record which of two images is better."""
    from nonesuch.catalogs.picks.log import open_picks
    from nonesuch.catalogs.query import Catalog
    from nonesuch.choosing.picking import image_id

    opened = Catalog(catalog)
    log = open_picks(opened.folder, who)
    event = log.compare(image_id(opened, winner), image_id(opened, loser))
    print(event.recipe_id)


def ranking(
    catalog: CatalogFolder,
    top: Annotated[
        int | None, typer.Option("--top", "-n", min=1, metavar="N", help="At most N images.")
    ] = None,
    who: Annotated[str | None, typer.Option(metavar="NAME", help="Only this person's comparisons.")] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    raw: Raw = False,
) -> None:
    """Rank compared images by their Bradley-Terry strength."""
    from dataclasses import asdict

    from nonesuch.catalogs.picks.bradley_terry import ranking as rank
    from nonesuch.catalogs.picks.log import open_picks
    from nonesuch.catalogs.picks.training_pairs import image_facts
    from nonesuch.catalogs.query import Catalog

    opened = Catalog(catalog)
    said = open_picks(opened.folder).pairs()
    found = rank([(pair.winner, pair.loser) for pair in said if who is None or pair.who == who])
    if found.groups > 1:
        typer.echo(
            f"the comparisons fall into {found.groups} groups that were never compared with one another: "
            "ranks and strengths hold within a group only",
            err=True,
        )
    if not found.settled:
        typer.echo(
            "some images never lost or never won against the others: their distance to the others is "
            "a guess; compare more",
            err=True,
        )
    shown = found.images[:top]
    facts = image_facts(opened, [image.recipe_id for image in shown])
    rows = [asdict(image) | {"file": (facts.get(image.recipe_id) or {}).get("file")} for image in shown]
    if not as_json and not as_csv:
        rows = [row | {"recipe_id": row["recipe_id"][:_SHORT]} for row in rows]
    _show(rows, as_json, as_csv, raw)


def agreement(
    catalog: CatalogFolder,
    score: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Only these scores, or stars or taste; may be repeated."),
    ] = None,
    within: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Also within each value of a facet.")
    ] = None,
    where: Where = None,
    images: Annotated[
        int, typer.Option(min=10, metavar="N", help="At most N images in total, and per value.")
    ] = 1000,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    raw: Raw = False,
) -> None:
    """Show how similarly scorers rank the images. Spearman's rho and Kendall's tau-b with intervals, for each two scores."""
    from dataclasses import asdict

    from nonesuch.catalogs.picks.agreement import agreement as agree
    from nonesuch.catalogs.query import Catalog

    found = agree(Catalog(catalog), scores=score or None, within=within, where=where, images=images)
    rows = [asdict(row) for row in found]
    if within is None:
        rows = [{k: v for k, v in row.items() if k not in ("within", "value")} for row in rows]
    _show(rows, as_json, as_csv, raw)


def taste_train(
    catalog: CatalogFolder,
    who: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this person's picks; default: everybody's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Learn which images get picked from their scores and embeddings; needs at least 30 picks and rejects."""
    from nonesuch.catalogs.picks.taste import train_taste
    from nonesuch.catalogs.picks.taste_model import write_model
    from nonesuch.catalogs.query import Catalog

    opened = Catalog(catalog)
    model = train_taste(opened, who=who)
    path = write_model(opened.folder, model)
    told = model.provenance
    if as_json:
        print(told.model_dump_json())
        return
    by = (
        f"held out by prompt, {told.prompts} prompts"
        if told.folds_by == "prompt"
        else "held out by image, since there are fewer than 3 prompts: it may be too high"
    )
    print(
        f"AUC {told.auc:.3f} ({told.auc_low:.3f} to {told.auc_high:.3f}), {by}; "
        f"{told.liked} liked and {told.disliked} disliked images"
    )
    if told.auc_low <= 0.5:
        typer.echo("the interval holds 0.5: this may be no better than chance; pick more", err=True)
    _show([b.model_dump() for b in told.calibration], False)
    print(path)


def taste_rank(
    catalog: CatalogFolder,
    top: Annotated[int, typer.Option("--top", "-n", min=1, metavar="N", help="At most N images.")] = SHOWN,
    where: Where = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    raw: Raw = False,
) -> None:
    """List the images that the trained taste likes best, with the predicted chance of a pick."""
    from nonesuch.catalogs.query import Catalog
    from nonesuch.catalogs.search.expressions import each_condition

    opened = Catalog(catalog)
    columns = ["recipe_id", "taste", "pick", "stars", *opened.facets, "seed", "file"]
    condition = each_condition(where, "taste IS NOT NULL")
    found = opened.query(condition, order="taste", top=top, columns=columns, as_arrow=True)
    rows: list[dict[str, Any]] = found.to_pylist()
    if not as_json and not as_csv:
        rows = [row | {"recipe_id": row["recipe_id"][:_SHORT]} for row in rows]
    _show(rows, as_json, as_csv, raw)


def _event(event: Event, *, short: bool) -> dict[str, Any]:
    def digits(recipe_id: str | None) -> str | None:
        return recipe_id[:_SHORT] if short and recipe_id else recipe_id

    return {
        "id": event.id,
        "when": f"{event.when:%Y-%m-%d %H:%M}" if short else event.when,
        "who": event.who,
        "act": event.act,
        "action": event.action,
        "recipe_id": digits(event.recipe_id),
        "stars": event.stars,
        "text": event.text,
        "loser": digits(event.loser),
        "undoes": event.undoes,
    }


def _show(rows: list[dict[str, Any]], as_json: bool, as_csv: bool = False, raw: bool = False) -> None:
    from nonesuch.cli.printing import print_csv, print_json_lines, print_table

    if as_json:
        print_json_lines(rows)
    elif as_csv:
        print_csv(rows, raw=raw)
    else:
        print_table(rows)
