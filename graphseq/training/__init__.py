"""The hall: one training loop for both wings."""
