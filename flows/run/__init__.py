"""One run of a sweep: from the job through its shards to published rows."""
