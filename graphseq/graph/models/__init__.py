"""Graph models, one paper per file."""
