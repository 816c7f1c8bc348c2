"""Objective, optimisers and metric."""
