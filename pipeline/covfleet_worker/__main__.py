"""Where the application's interpreter begins: ``python covfleet_worker OUTPUT_FOLDER``."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # Python has put this folder first, where its modules would pass for those of other people.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    from covfleet_worker.session import main  # type: ignore[import-not-found]  # only here is it a package

    sys.path[0] = os.getcwd()  # as ``python -m pytest`` has it
    sys.exit(main(sys.argv[1]))
