"""The stage ``publish``: add a build's reports to a static site."""
