"""A store on S3, or on any compatible server."""
