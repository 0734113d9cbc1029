"""A stand-in for a Qdrant server in tests: it answers requests as the real one does, on qdrant-client's local mode.

`tests/test_stand_in.py` replays recorded exchanges with a real server. Replication, quantization and the crashes of a
real server are not simulated; searches are exact.
"""

from stand_in.answers import Answer
from stand_in.server import StandIn

__all__ = ["Answer", "StandIn"]
