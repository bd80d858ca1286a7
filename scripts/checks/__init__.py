"""Proofs that take long: what the scripts beside this folder check, on suites that nobody here wrote."""
