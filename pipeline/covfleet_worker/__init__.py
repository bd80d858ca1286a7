"""The worker: runs inside the application's own interpreter, measures, and runs what it is told to.

This folder is all that covfleet brings into the application's environment, where it is a package of its own.
It needs nothing but what the application has (Python 3.9 or newer, coverage.py 7.10.6 or newer, pytest 7 or
newer) and imports nothing of covfleet. The agent starts ``python covfleet_worker OUTPUT_FOLDER`` in the
project's folder and then speaks lines of JSON with it: commands on standard input, events on standard output.

    agent                                   worker
    {"do": "start", coverage, pytest, ...}  {"event": "ready", environment, measurement}
    {"do": "collect"}                       {"event": "tests", "ids": [...]}   several times
                                            {"event": "collected", "imports": [...], "errors": [...]}
    {"do": "run", "tests", "imports"}       {"event": "running", "tests": [...]}
                                            {"event": "test", "id", "outcome", ...}   one a test
                                            {"event": "saved"}                        now and then
                                            {"event": "done", "files", "notes", "cpu_s"}
    {"do": "command", "id", "argv"}         {"event": "running"}, {"event": "test"}, {"event": "done"}
    {"do": "quit"}, or end of input         ends the test session and exits

The process lives from batch to batch, so that imports and collection are paid once.  Its coverage data is a
file in OUTPUT_FOLDER while a batch runs, and is handed over in OUTPUT_FOLDER/done when the batch is over.
``saved`` says that the data of all tests reported so far is on disk: it survives whatever kills the process.
"""
