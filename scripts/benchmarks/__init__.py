"""Figures: how fast covfleet is, and how much it takes for itself. ``scripts/bench`` prints them."""
