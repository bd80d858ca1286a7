"""Whether covfleet can run here, and what measuring costs."""
