"""Delivers data files as a shard does: they, then a result that names them. In a process of its own.

python -m benchmarks.transferring FOLDER STORE ENDPOINT COMMIT zstd|none
"""

from __future__ import annotations

import sys
from pathlib import Path

from covfleet.adapters.stores import open_store
from covfleet.combine.verify import data_file
from covfleet.model import BatchResult
from covfleet.settings.schema import Settings
from covfleet.store.data_files import send
from covfleet.store.encoding import to_json
from covfleet.store.keys import BuildKeys

BUILD = "bench"
BATCH = "1"


def main(folder: Path, url: str, endpoint_url: str, commit: str, compression: str) -> None:
    settings = Settings(endpoint_url=endpoint_url)
    store, keys = open_store(url, settings, folder), BuildKeys(commit, BUILD)
    files = [(path, data_file(path, path.name)) for path in sorted(folder.glob(".coverage.*"))]
    sent = send(store, keys.of_commit, files, compress=compression == "zstd", workers=settings.s3.connections)
    result = BatchResult(commit, BUILD, BATCH, 1, "token", 0.0, "ctrace", (), sent)
    store.put(keys.result(BATCH), to_json(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
