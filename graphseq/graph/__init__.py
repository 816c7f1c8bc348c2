"""The graph wing: everything that knows what an edge is."""
