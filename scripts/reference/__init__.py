"""The reference pages of the documentation, made from the program. ``scripts/docs write`` writes them."""
