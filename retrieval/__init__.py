"""The core that trainer, indexer and web share."""
