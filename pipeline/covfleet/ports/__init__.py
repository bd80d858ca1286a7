"""What the stages need of the world: adapters implement it, and stages know nothing else."""
