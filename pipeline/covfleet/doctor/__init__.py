"""Check whether covfleet can run here, and measure the cost of coverage."""
