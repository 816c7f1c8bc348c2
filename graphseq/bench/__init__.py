"""Op and model timings."""
