"""A backend over any engine or service: requests side by side, drawings in order, nothing paid for twice."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import uuid4

from nonesuch.foundation.errors import DrawingError, InputError
from nonesuch.foundation.images import RGB, decode_rgb
from nonesuch.generators.backends.base import BackendStopped, Drawing, Origin
from nonesuch.generators.backends.remote.http import NoImage
from nonesuch.generators.backends.remote.spool import Spool
from nonesuch.generators.matrix.combined import EXTRAS, check_able
from nonesuch.generators.models import ModelFacts
from nonesuch.generators.recipe import Recipe

MAX_IMAGE: Final = 64 << 20  # bytes of an image that comes back
MAX_PIXELS: Final = 64_000_000
SERVICE_SAYS_NOTHING: Final = Origin(None, "the service does not say whether it drew")
_KEPT: Final = Origin(False, "kept from a run that ended before the catalog had it")


@dataclass(frozen=True, slots=True)
class Picture:
    """What a painter brought back for one recipe."""

    data: bytes = field(repr=False)  # the file as it came
    told: Mapping[str, Any] = field(default_factory=dict)  # JSON-able: what the server said of it
    cost: float | None = None  # US dollars; None when it costs nothing or it is not known
    origin: Origin = SERVICE_SAYS_NOTHING  # whether the server drew it for this request


class Painter(Protocol):
    """Speaks one protocol. `paint` is called from several threads at once."""

    def ready(self) -> None:
        """Raise BackendStopped or InputError when it can't draw at all."""
        ...

    def check(self, recipe: Recipe) -> None:
        """Raise InputError for what the recipe asks and the model can't do."""
        ...

    def paint(self, recipe: Recipe, *, anew: bool = False) -> Picture:
        """The image; with `anew` none that the server has ready, as far as it can be kept from that.

        Raises NoImage for this recipe alone, BackendStopped for all that follow.
        """
        ...

    def close(self) -> None:
        """End waits and let connections go."""
        ...


class RemoteBackend:
    """Draws through a painter, `concurrency` requests at once.

    Answers of a paid service lie in the spool until `published` is called: then the catalog has them.
    """

    def __init__(
        self, facts: ModelFacts, painter: Painter, *, concurrency: int, spool: Spool | None = None
    ) -> None:
        self.facts = facts
        self._painter = painter
        self._concurrency = concurrency
        paid = facts.remote is not None and facts.remote.paid
        self._spool = spool or Spool() if paid else None

    def load(self) -> None:
        """Ask whether the engine is there and takes the key. Raises BackendStopped when not."""
        if not self.facts.resolved:
            raise DrawingError(
                "the engine was not asked for its model",
                where=self.facts.model,
                hint="Run with permission to use the network.",
            )
        self._painter.ready()

    def check(self, recipe: Recipe) -> None:
        """Raise InputError for what the recipe asks of this model that it can't do."""
        check_abilities(recipe, self.facts)
        self._painter.check(recipe)

    def draw(self, recipes: Sequence[Recipe]) -> Iterator[Drawing]:
        """One Drawing for each recipe, in order. When the engine is gone or refuses to continue, all that came
        back until then is yielded first; then BackendStopped is raised."""
        return self._drawings(recipes, anew=False)

    def draw_anew(self, recipes: Sequence[Recipe]) -> Iterator[Drawing]:
        """As `draw`, but each image is asked for anew, whatever the engine or the spool has of it."""
        return self._drawings(recipes, anew=True)

    def _drawings(self, recipes: Sequence[Recipe], *, anew: bool) -> Iterator[Drawing]:
        stopped: BackendStopped | None = None
        left = iter(recipes)
        waiting: deque[Future[Drawing]] = deque()
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="remote") as pool:
            try:
                while True:
                    while stopped is None and len(waiting) < self._concurrency:
                        following = next(left, None)
                        if following is None:
                            break
                        waiting.append(pool.submit(self._drawn, following, anew))
                    if not waiting:
                        break
                    try:
                        drawing = waiting.popleft().result()
                    except BackendStopped as error:
                        stopped = stopped or error
                        continue
                    yield drawing
            finally:
                for future in waiting:
                    future.cancel()
        if stopped is not None:
            raise stopped

    def published(self, recipes: Sequence[Recipe]) -> None:
        """Delete what was kept for these recipes."""
        if self._spool is not None:
            self._spool.drop(recipe.id for recipe in recipes)

    def close(self) -> None:
        """Let connections go."""
        self._painter.close()

    def _drawn(self, recipe: Recipe, anew: bool) -> Drawing:
        begun = time.perf_counter()
        try:
            check_abilities(recipe, self.facts)
            picture = self._painter.paint(recipe, anew=True) if anew else self._bought(recipe)
        except BackendStopped:
            raise
        except (NoImage, InputError) as error:
            cost = error.cost if isinstance(error, NoImage) else None
            return self._failed(recipe, error.message, begun, {"cost": cost} if cost is not None else {})
        facts = self._facts(picture)
        if len(picture.data) > MAX_IMAGE:
            return self._failed(recipe, f"the image is {len(picture.data):,} bytes", begun, facts)
        try:
            image = decode_rgb(picture.data, where="the image that came back", max_pixels=MAX_PIXELS)
        except InputError as error:
            if not anew:
                self.published([recipe])  # what can't be read is not worth keeping
            return self._failed(recipe, str(error), begun, facts)
        remote = self.facts.remote
        return Drawing(
            recipe,
            image,
            "flagged" if is_blank(image) else "ok",
            "every pixel has the same value" if is_blank(image) else "",
            time.perf_counter() - begun,
            1,
            self.facts.backend,
            recipe.dtype,
            original=picture.data if remote is not None and remote.paid else None,
            facts=facts,
            origin=picture.origin,
        )

    def _bought(self, recipe: Recipe) -> Picture:
        if self._spool is None:
            return self._painter.paint(recipe)
        kept = self._spool.take(recipe.id)
        if kept is not None:
            data, told = kept
            return Picture(data, told.get("told", {}), told.get("cost"), _KEPT)
        picture = self._painter.paint(recipe)
        self._spool.put(recipe.id, picture.data, {"told": dict(picture.told), "cost": picture.cost})
        return picture

    def _facts(self, picture: Picture) -> dict[str, Any]:
        facts: dict[str, Any] = {"cost": picture.cost} if picture.cost is not None else {}
        if picture.told:
            facts["told"] = json.dumps(dict(picture.told), ensure_ascii=False, sort_keys=True)[:20_000]
        remote = self.facts.remote
        if remote is not None and not remote.reproducible:
            facts["reproducible"] = False
        return facts

    def _failed(self, recipe: Recipe, reason: str, begun: float, facts: Mapping[str, Any]) -> Drawing:
        seconds = time.perf_counter() - begun
        return Drawing(
            recipe, None, "failed", reason, seconds, 1, self.facts.backend, recipe.dtype, facts=dict(facts)
        )


def request_key(recipe: Recipe, *, anew: bool) -> dict[str, str]:
    """The header by which a service knows a request that is sent again, and may answer it with what it answered
    first; with `anew` one that it has never seen."""
    return {"Idempotency-Key": f"nonesuch-{recipe.id}" + (f"-{uuid4().hex}" if anew else "")}


def check_abilities(recipe: Recipe, facts: ModelFacts) -> None:
    """Raise InputError for what the recipe asks and the model has no way to do."""
    check_able({name: getattr(recipe, name) for name in EXTRAS}, facts, where=facts.model)


def is_blank(image: RGB) -> bool:
    """Whether every pixel has the same value."""
    return bool(image.max() == image.min())
