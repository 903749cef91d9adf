"""What other programs write into their pictures: the fields of any file, and one parser for each program's words.

`carriers.read_records` reads a file's fields into records; provenance makes evidence of them, generators sweeps.
"""
