"""Training: labelled photos to a model bundle."""
