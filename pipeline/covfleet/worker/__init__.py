"""The agent's side of a worker: its client, its events, and the comparison of its measuring cores."""
