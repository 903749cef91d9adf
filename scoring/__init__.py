"""How good a picture is: CLIP embedding, alignment, facet recognition, aesthetic, technical, safety.

`open_encoder`, `open_scorers` and `score_images` are the way in; `scoring_columns` says which columns
come out. Importing this package loads neither torch nor open_clip.
"""

from nonesuch.scoring.columns import Column, scoring_columns
from nonesuch.scoring.encoders import Encoder, open_encoder
from nonesuch.scoring.scorers import DEFAULT_SCORERS, SCORERS, Scorer, Setting, open_scorers
from nonesuch.scoring.scores import Batch, Caption, Scores, score_images

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
