"""What every test folder shares: the fixtures of tests/support that need a server."""

import signal

pytest_plugins = ["support.engine", "support.seaweed", "support.fake_jenkins", "support.controllers"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So it is for what a script starts in the background, and for all that this starts in turn: the commands
    # that tests interrupt would never notice.
    signal.signal(signal.SIGINT, signal.default_int_handler)
