"""Write all of coverage.py's reports in one pass over the sources instead of one pass per format."""
