"""A Jenkins controller over HTTP, and a Groovy parser for the Jenkinsfile."""
