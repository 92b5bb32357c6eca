"""The engines that may run an artefact, each compared with PyTorch (`verify --engine`)."""
