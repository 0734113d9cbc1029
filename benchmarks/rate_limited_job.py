"""How long a job takes on an index server that limits the rate of requests, compared with the bound of the limits.

The server is the one of the tests, in strict mode: each shard accepts a number of reads and writes a minute, and at
first as many at once. Workers index photos. The bound is the time in which the server accepts as many writes as there
are photos, or the reads that the job made. It is compared with the time of the whole job and, since starting the
processes takes long on a busy machine, with the time from the first write to the last one. The script fails if that is
more than 1.2 times as long, if a photo is not indexed exactly once, or if the record of the job does not say what has
slowed it down.

    python benchmarks/rate_limited_job.py --bundle BUNDLE --photos FOLDER [--count 2000] [--reads 60] [--writes 1000]
"""

import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from machines import Machines
from options import bundle_and_photos, show
from qdrant_http import listening
from stand_in import Answer, StandIn
from workers import copies, finish

from indexer.jobs import list_jobs
from retrieval.bundle import load_bundle
from retrieval.settings import Settings

REDELIVERY_SECONDS = 300
MOST_RATIO = 1.2


class Counting(StandIn):
    """A server that counts the requests that it answers, and those that it refuses because of the limits."""

    answered = refused = 0
    first_write = last_write = 0.0  # on the clock of time.perf_counter

    def answer(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        given = super().answer(method, url, body, headers)
        self.answered += 1
        self.refused += given.status == 429
        if method == "PUT" and url.partition("?")[0].endswith("/points") and given.status == 200:
            self.last_write = time.perf_counter()
            self.first_write = self.first_write or self.last_write
        return given


def main() -> int:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--count", type=int, default=2000, help="photos of the job")
    parser.add_argument("--reads", type=int, default=60, help="a minute")
    parser.add_argument("--writes", type=int, default=1000, help="a minute")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shards", type=int, default=1)
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    server = Counting()
    with tempfile.TemporaryDirectory() as temporary, listening(server) as node:
        photos = copies(options.photos, options.count, Path(temporary, "photos"))
        machines = Machines(
            Path(temporary), bundle, options.workers, redelivery_seconds=REDELIVERY_SECONDS, qdrant_url=node.url
        )
        try:
            collection = machines.create_collection(options.shards)
            limits = {"enabled": True, "read_rate_limit": options.reads, "write_rate_limit": options.writes}
            patch = json.dumps({"strict_mode_config": limits}).encode()
            assert server.answer("PATCH", f"/collections/{collection}", patch, {}).status == 200
            start = time.perf_counter()
            done = finish(machines.start_index(photos))
            seconds = time.perf_counter() - start
            writing, spent = server.last_write - server.first_write, server.spent(collection)
            (job,) = list_jobs(Settings(home=machines.folder / "home"))
            patch = json.dumps({"strict_mode_config": {"enabled": False}}).encode()
            server.answer("PATCH", f"/collections/{collection}", patch, {})
            assert (done["seen"], done["indexed"], done["failed"]) == (options.count, options.count, 0), done
            assert len(machines.points()) == options.count
        finally:
            machines.close()
    bounds = {
        "reads": bound(spent["Read"], options.reads),
        "writes": bound(options.count, options.writes * options.shards),
    }
    found = {
        "seconds": round(seconds, 1),
        "bound": {what: round(least, 1) for what, least in bounds.items()},
        "ratio": round(seconds / max(bounds.values()), 2),
        "from_first_to_last_write": round(writing, 1),
        "ratio_of_writing": round(writing / max(bounds.values()), 2),
        "reads_per_photo": round(spent["Read"] / options.count, 2),
        "writes_per_photo": round(spent["Write"] * options.shards / options.count, 2),
        "requests": server.answered,
        "refused": server.refused,
        "slowed_by": job.slowed_by,
    }
    show(found, options.json)
    return int(found["ratio_of_writing"] > MOST_RATIO or job.slowed_by is None)


def bound(tokens: int, limit: int) -> float:
    """The least seconds in which a server with this limit a minute accepts so much; at first it accepts the limit."""
    return max(0.0, (tokens - limit) * 60 / limit)


if __name__ == "__main__":
    sys.exit(main())
