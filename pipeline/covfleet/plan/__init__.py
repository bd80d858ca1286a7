"""The stage ``plan``: which tests there are, cut into batches, dealt to shards."""
