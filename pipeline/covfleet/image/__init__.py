"""The stage ``image``: build the image that the shards run from a commit and a Dockerfile."""
