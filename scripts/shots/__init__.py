"""The documentation's screenshots. ``scripts/screenshots`` makes them."""
