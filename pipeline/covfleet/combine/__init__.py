"""Combining: from raw data files to one ``.coverage`` and a ledger that proves what it is made of.

gather    results and data files, read from the store
verify    one data file as bytes; contents: the same as a database; store.soundness: each page and row
paths     which measured paths are the project's own
ledger    planned against received: the verdict; refusal: what it forbids
merge     the union of sound files: union does it fast (schema: from an empty one), stock by coverage.py's
          public API
growing   a union that grows while shards deliver, and outlives its process
build     all of it for a build, at once or in advance; folder: for a folder without a plan
same      whether two results say the same
"""
