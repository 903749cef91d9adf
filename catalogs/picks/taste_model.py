"""The taste model: what it weighs, its file OUT/taste/model.json, and its predictions for a catalog's rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from nonesuch.catalogs.picks.logistic import probability
from nonesuch.catalogs.schema import EMBEDDING
from nonesuch.catalogs.storage.indexes import embedding_matrix, raw_embeddings
from nonesuch.catalogs.storage.parts import UNREADABLE, damaged
from nonesuch.foundation.errors import CatalogError, InputError
from nonesuch.foundation.files import atomic_write
from nonesuch.foundation.images import read_limited

Numbers = npt.NDArray[np.float64]
_Kept = dict[
    str, tuple[tuple[int, int, int], Numbers]
]  # of each part: inode, time of change, size; predictions

FORMAT = "nonesuch.taste/1"
_MAX_BYTES = 4 << 20
_BATCH = 1 << 15  # rows whose embeddings are in memory at a time

TASTE_FIELDS = pa.schema(
    [
        pa.field(
            "taste",
            pa.float64(),  # single precision would tie the surest, which are the ones a top list shows
            metadata={"description": "predicted chance that the image is picked, 0 to 1", "role": "score"},
        )
    ]
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CalibrationBin(_Strict):
    """Images whose held-out predictions are alike."""

    images: int
    predicted: FiniteFloat
    observed: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat


class Provenance(_Strict):
    """What a model was trained on, and how well it does on prompts it was not trained on."""

    trained_at: str  # ISO 8601, UTC
    nonesuch: str  # version
    people: list[str]  # whose picks
    last_event: int  # the log's newest event at the time
    liked: int  # images picked, or with 4 or 5 stars
    disliked: int  # images rejected, or with 1 or 2 stars
    prompts: int
    folds_by: str  # "prompt", or "image" when there are too few prompts to hold some out
    ridge: FiniteFloat
    auc: FiniteFloat  # of held-out predictions
    auc_low: FiniteFloat  # 95% interval
    auc_high: FiniteFloat
    log_loss: FiniteFloat  # of held-out predictions; ln 2 = 0.69 for a coin
    calibration: list[CalibrationBin]


class TasteModel(_Strict):
    """A logistic model on scores and embedding; `means` and `scales` make a feature of each number."""

    format: str = FORMAT
    scores: list[str]  # score columns, in the order of the features
    encoder: str | None  # whose embeddings follow the scores; None: none do
    dim: int = Field(ge=0, le=65_536)  # numbers of the embedding
    means: list[FiniteFloat]  # one for each score and number of the embedding
    scales: list[FiniteFloat]  # what (value - mean) is multiplied with
    weights: list[FiniteFloat]
    intercept: FiniteFloat
    provenance: Provenance

    def logits(self, scores: Numbers, vectors: npt.NDArray[np.floating]) -> Numbers:
        """Log odds [N] of being liked, from scores [N, S] (NaN: unknown, taken as the mean) and embeddings [N, dim]."""
        count = len(self.scores)
        means, scales, weights = (np.array(x) for x in (self.means, self.scales, self.weights))
        slopes = scales * weights
        known = np.where(np.isfinite(scores), scores - means[:count], 0.0)
        centred = float(means[count:] @ slopes[count:])
        pictured = np.asarray(vectors, np.float32) @ slopes[count:].astype(np.float32)
        return np.asarray(known @ slopes[:count] + pictured - centred + self.intercept)


def model_file(folder: Path) -> Path:
    """Where the model of an output folder lies."""
    return folder / "taste" / "model.json"


def write_model(folder: Path, model: TasteModel) -> Path:
    """Write the model into an output folder, in place of an older one. Raises StorageError."""
    path = model_file(folder)
    atomic_write(path, model.model_dump_json(indent=1).encode())
    return path


def read_model(folder: Path) -> TasteModel:
    """The model of an output folder. Raises InputError without one, CatalogError when it can't be read."""
    path = model_file(folder)
    if not path.exists():
        raise InputError(
            "there is no taste model here yet",
            where=str(path),
            hint="Pick and reject at least 30 images, then run `nonesuch taste train`.",
        )
    try:
        model = TasteModel.model_validate(json.loads(read_limited(path, max_bytes=_MAX_BYTES)))
    except (ValueError, ValidationError) as error:
        raise CatalogError(
            f"is not a taste model ({str(error).splitlines()[0]})", where=str(path), hint="Train it again."
        ) from error
    features = len(model.scores) + model.dim
    if model.format != FORMAT or {len(model.means), len(model.scales), len(model.weights)} != {features}:
        raise CatalogError("is a taste model of another format", where=str(path), hint="Train it again.")
    return model


class TasteColumn:
    """The column `taste`: each row's predicted chance; null for rows without the model's embedding or any score."""

    fields = TASTE_FIELDS

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model: tuple[tuple[int, int], TasteModel, _Kept] | None = None

    def table(self, files: Sequence[str]) -> pa.Table:
        """One row for each row of the parts. Raises InputError when no model was trained."""
        model, kept = self._current()
        parts = [_kept_part(file, model, kept) for file in files]
        for gone in set(kept) - set(files):
            kept.pop(gone, None)
        sizes = [len(part) for part in parts]
        numbers = np.repeat(np.arange(len(parts)), sizes)
        rows = np.concatenate([np.zeros(0, np.int64), *(np.arange(size) for size in sizes)])
        taste = np.concatenate([np.zeros(0), *parts])
        return pa.table(
            {
                "file_index": pa.array(numbers, pa.int64()),
                "file_row_number": pa.array(rows, pa.int64()),
                "taste": pa.array(taste, pa.float64(), from_pandas=True),
            }
        )

    def close(self) -> None:
        """Let go of the model and of what it said."""
        self._model = None

    def _current(self) -> tuple[TasteModel, _Kept]:
        path = model_file(self._folder)
        stamp = (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else (0, 0)
        if self._model is None or self._model[0] != stamp:
            self._model = (stamp, read_model(self._folder), {})
        return self._model[1:]


def _kept_part(file: str, model: TasteModel, kept: _Kept) -> Numbers:
    try:
        stat = Path(file).stat()
        stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        found = kept.get(file)
        if found is None or found[0] != stamp:
            found = (stamp, taste_of_part(Path(file), model))
            kept[file] = found
        return found[1]
    except FileNotFoundError:  # replaced meanwhile: the reader begins anew
        return np.zeros(0)
    except UNREADABLE as error:
        raise damaged(Path(file), error) from error


def taste_of_part(path: Path, model: TasteModel) -> Numbers:
    """The predicted chance of each row of a part, float64 [N], NaN where there is none."""
    found: list[Numbers] = []
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        here = [name for name in model.scores if name in names]
        plain = [*here, *(["encoder"] if model.dim and "encoder" in names else [])]
        raw = raw_embeddings(path, model.dim) if model.dim and EMBEDDING in names else None
        read = plain + ([EMBEDDING] if model.dim and raw is None and EMBEDDING in names else [])
        start = 0
        for batch in file.iter_batches(_BATCH, columns=read or ["recipe_id"]):
            table = pa.Table.from_batches([batch])
            scores = score_matrix(table, model.scores)
            fits = np.isfinite(scores).any(axis=1)
            vectors = np.zeros((len(table), model.dim), np.float16)
            if model.dim:
                if raw is not None:
                    vectors = raw[start : start + len(table)]
                elif EMBEDDING in table.column_names:
                    vectors = embedding_matrix(table[EMBEDDING])
                fits = vectors.any(axis=1) & _is_encoder(table, model.encoder)
            predicted = probability(model.logits(scores, vectors))
            found.append(np.where(fits, predicted, np.nan))
            start += len(table)
    return np.concatenate([np.zeros(0), *found])


def score_matrix(table: pa.Table, names: Sequence[str]) -> Numbers:
    """Score columns as float64 [N, S], NaN where a row or the whole table has none."""
    matrix = np.full((len(table), len(names)), np.nan)
    for place, name in enumerate(names):
        if name in table.column_names:
            matrix[:, place] = pc.cast(table[name], pa.float64()).to_numpy()
    return matrix


def _is_encoder(table: pa.Table, encoder: str | None) -> npt.NDArray[np.bool_]:
    if "encoder" not in table.column_names:
        return np.full(len(table), encoder is None)
    same = pc.equal(pc.cast(table["encoder"], pa.string()), encoder or "")
    return np.asarray(pc.fill_null(same, False).to_numpy(zero_copy_only=False), bool)
