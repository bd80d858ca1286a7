"""A Jenkins controller over HTTP, and Groovy's own parser for the Jenkinsfile."""
