"""A shard: takes batches from the store, runs them in workers, and delivers their results."""
