"""Combining: from raw data files to one ``.coverage`` and a ledger that proves what it is made of.

gather    results and data files, read from the store
verify    one data file as bytes; contents: the same as a database; pipeline.soundness: each page and row
paths     which measured paths are the project's own
ledger    planned against received: the verdict
merge     the union of sound files: union does it fast (schema: from an empty one), stock by coverage.py's
          public API
build     all of it for a build; folder: for a folder without a plan
"""
