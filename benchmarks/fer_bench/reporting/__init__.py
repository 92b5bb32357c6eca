"""A stored run of the benchmarks as a page: what it says, drawn, and what follows from it."""
