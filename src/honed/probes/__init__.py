"""Measurements on models, which write what `evidence` judges."""
