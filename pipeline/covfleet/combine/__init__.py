"""Combining: from raw data files to one ``.coverage`` and a ledger that proves its origin.

gather    reads results and data files from the store
verify    checks one data file as bytes; contents: as a database; store.soundness: each page and row
paths     decides which measured paths are the project's own
ledger    compares the plan with the results and gives the verdict; refusal: what the verdict forbids
merge     merges sound files: union is fast (schema: an empty data file), stock uses coverage.py's public API
growing   a union that grows while shards deliver, and survives its process
build     all of this for a build, at once or in advance; folder: for a folder without a plan
same      compares two results
"""
