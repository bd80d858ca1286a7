"""What reports leave for those of the next build: by branch, in one file, proved before it is used."""
