"""Queues of photos that a person should look at, most important first."""
