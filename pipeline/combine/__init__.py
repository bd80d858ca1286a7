"""Combining: from raw data files to one ``.coverage`` and a ledger that proves what it is made of.

gather    results and data files, read from the store
verify    one data file as bytes; contents: the same as a database
paths     which measured paths are the project's own
ledger    planned against received: the verdict
merge     the union of sound files
build     all of it for a build; folder: for a folder without a plan
"""

from __future__ import annotations

from pipeline.combine.build import Combined, combine_build
from pipeline.combine.folder import Project, combine_folder
from pipeline.combine.gather import Transfers

__all__ = [
    "Combined",
    "Project",
    "Transfers",
    "combine_build",
    "combine_folder",
]
