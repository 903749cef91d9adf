"""Picks: people's choices, stars and notes, and what is learnt from them: log, rankings, agreement, taste."""
