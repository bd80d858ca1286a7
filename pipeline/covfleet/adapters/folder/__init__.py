"""A store in a folder, and one that lies over a store that may only be read."""
