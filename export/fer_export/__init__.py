"""Export of classifiers to deployable files, each with proof that it computes the same."""
