"""Combining: from raw data files to one ``.coverage`` and a ledger that proves what it is made of.

gather    results and data files, read from the store
verify    one data file as bytes; contents: the same as a database
paths     which measured paths are the project's own
ledger    planned against received: the verdict
merge     the union of sound files: union does it fast, stock by coverage.py's public API
build     all of it for a build; folder: for a folder without a plan
"""
