"""Indexing: photos to vectors to index; jobs, workers and their records."""
