"""Model bundles of existing networks: `lookalike import`."""
