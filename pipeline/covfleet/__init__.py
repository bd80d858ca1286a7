"""covfleet: one coverage result per commit, measured on many shards, proved complete.

The data's way: image -> plan -> shard -> store -> combine -> report -> gate -> publish.
"""
