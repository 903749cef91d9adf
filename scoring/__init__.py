"""How good an image is: CLIP embedding, alignment, facet recognition, aesthetics, technical quality, safety.

`open_encoder`, `open_scorers` and `score_images` are the way in; `scoring_columns` says which columns
come out. Importing this package loads neither torch nor open_clip.
"""

from nonesuch.scoring.base import Batch, Caption, Column, Encoder, Scorer, Scores, Setting
from nonesuch.scoring.encoders import open_encoder
from nonesuch.scoring.scorers import DEFAULT_SCORERS, SCORERS, open_scorers, scoring_columns
from nonesuch.scoring.scores import score_images

__all__ = [
    "DEFAULT_SCORERS",
    "SCORERS",
    "Batch",
    "Caption",
    "Column",
    "Encoder",
    "Scorer",
    "Scores",
    "Setting",
    "open_encoder",
    "open_scorers",
    "score_images",
    "scoring_columns",
]
