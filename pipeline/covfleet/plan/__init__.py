"""The stage ``plan``: collect the tests, cut them into batches, deal the batches to shards."""
