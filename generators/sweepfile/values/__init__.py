"""Values of facets and seeds: lists, files, templates, styles.csv, wildcards."""
