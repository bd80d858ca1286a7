"""A shard: takes batches from the store, has a worker run them, and hands over what they gave."""
