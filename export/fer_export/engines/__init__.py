"""The engines that may run an artefact, each compared with PyTorch by `fer-export verify --engine`."""
