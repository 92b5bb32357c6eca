"""The losses by name: a module each, and the table of their names."""
