"""The stage ``publish``: a build's reports in a static site."""
