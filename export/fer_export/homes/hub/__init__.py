"""A folder for a model hub, which transformers.js and Optimum load as it is."""
