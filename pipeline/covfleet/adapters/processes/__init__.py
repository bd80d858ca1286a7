"""Workers and shards as plain processes of this machine."""
