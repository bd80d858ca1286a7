"""Settings: their schema, where they come from, and which names from outside they accept."""
