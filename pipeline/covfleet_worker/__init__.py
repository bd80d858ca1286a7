"""The worker: runs in the application's own interpreter, measures, and executes the agent's commands.

This folder is all that covfleet adds to the application's environment, where it is a separate package. It
needs only what the application has (Python 3.9 or newer, coverage.py 7.10.6 or newer, pytest 7 or newer) and
imports nothing from covfleet. The agent starts ``python covfleet_worker OUTPUT_FOLDER`` in the project's
folder and then exchanges lines of JSON with it: commands on standard input, events on standard output.

    agent                                   worker
    {"do": "start", coverage, pytest, ...}  {"event": "ready", environment, measurement, ...}
                                            or {"event": "refused", "message", "hint"}, also later
    {"do": "collect"}                       {"event": "collecting", "file"}    before each, "" at the end
                                            {"event": "tests", "ids": [...]}   several times
                                            {"event": "collected", "imports", "errors", "notes"}
    {"do": "run", "tests", "imports",       {"event": "collecting", "file"}    for each that is new
           "planned_elsewhere"}             {"event": "running", "tests": [...]}
                                            {"event": "test", "id", "outcome", ...}   one per test
                                            {"event": "saved"}                        now and then
                                            {"event": "done", "files", "notes", "cpu_s"}
    {"do": "command", "id", "argv"}         {"event": "running"}, {"event": "test"}, {"event": "done"}
    {"do": "quit"}, or end of input         ends the test session and exits

The process stays alive between batches, so that imports and collection happen only once. Its coverage data is
a file in OUTPUT_FOLDER while a batch runs, and is handed over in OUTPUT_FOLDER/done when the batch has ended.
``saved`` means that the data of all tests reported so far is on disk and survives whatever kills the process.
"""
