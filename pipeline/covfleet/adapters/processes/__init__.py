"""Workers and shards as plain processes on this machine."""
