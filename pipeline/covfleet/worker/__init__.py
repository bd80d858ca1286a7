"""The agent's side of a worker: the client that speaks with it, and the comparison of its measuring cores."""
