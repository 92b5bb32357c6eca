"""The models by name: a module each, or a library's, and the tables of their names."""
