"""The report of a training, and the charts in it."""
