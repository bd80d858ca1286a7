"""What every test folder shares: the fixtures of tests/support that need a server."""

pytest_plugins = ["support.engine", "support.seaweed", "support.fake_jenkins", "support.controllers"]
