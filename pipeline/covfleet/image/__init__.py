"""The stage ``image``: from a commit and a Dockerfile to the image that the shards run."""
