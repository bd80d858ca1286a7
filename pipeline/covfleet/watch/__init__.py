"""Beside the shards: following and merging what they deliver, rehearsing the reports, showing progress."""
