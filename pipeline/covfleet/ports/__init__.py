"""The interfaces between the stages and the outside world; adapters implement them."""
