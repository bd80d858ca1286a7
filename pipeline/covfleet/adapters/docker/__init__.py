"""The Docker engine: images, and workers in hardened containers."""
