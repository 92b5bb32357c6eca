"""Training of facial-expression classifiers: data sets, models, runs and their evaluation."""
