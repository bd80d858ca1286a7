"""What ops run by hand, days after a build: which builds there are, combining again, fetching the data."""
