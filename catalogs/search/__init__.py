"""Finding rows: conditions, order, look-ups by id or fingerprint, nearest embeddings, duplicates, statistics."""
