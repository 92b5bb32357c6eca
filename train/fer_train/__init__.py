"""Training of facial-expression classifiers: data sets, nets, the fit, its evaluation."""
