"""Analyses of embeddings that trainer and indexer share."""
