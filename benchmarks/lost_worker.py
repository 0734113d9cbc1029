"""How long a job takes if one of its two workers is killed, compared with a job without a kill.

A Redis server, an index server and the workers run on this machine; Redis would deliver the batches of a killed worker
again only after five minutes. Both jobs index the same photos into new indexes, in turn. The script fails if a photo is
not indexed exactly once, or if the kill costs more than 40 seconds. The index server is the one at
LOOKALIKE_TEST_QDRANT_URL, or the one of the tests.

    python benchmarks/lost_worker.py --bundle BUNDLE --photos FOLDER [--count 2000] [--runs 1]
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from machines import Machines
from options import bundle_and_photos, show
from timing import spread
from waiting import until
from workers import copies, finish

from indexer.jobs import list_jobs
from retrieval.bundle import Bundle, load_bundle
from retrieval.listing import list_photos
from retrieval.settings import Settings

REDELIVERY_SECONDS = 300
MOST_SECONDS = 40.0


def main() -> int:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--count", type=int, default=2000, help="photos of a job")
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    with tempfile.TemporaryDirectory() as temporary:
        photos = copies(options.photos, options.count, Path(temporary, "photos"))
        turns = [[seconds_of_job(bundle, photos, kill=kill) for kill in (False, True)] for _ in range(options.runs)]
    undisturbed, killed = map(spread, zip(*turns, strict=True))
    cost = spread(after - before for before, after in turns)
    show({"photos": options.count, "seconds": undisturbed, "with_a_kill": killed, "cost": cost}, options.json)
    return int(cost["most"] > MOST_SECONDS)


def seconds_of_job(bundle: Bundle, photos: Path, *, kill: bool) -> float:
    """The time of a job on two workers, of which one is killed once half of the photos are indexed."""
    expected = {photo.uri for photo in list_photos(photos)}
    with tempfile.TemporaryDirectory() as temporary:
        machines = Machines(Path(temporary), bundle, durable=False, redelivery_seconds=REDELIVERY_SECONDS)
        try:
            start = time.perf_counter()
            job = machines.start_index(photos)
            if kill:
                home = Settings(home=machines.folder / "home")
                until(lambda: any(job.seen >= len(expected) / 2 for job in list_jobs(home)), 600)
                machines.lose_worker()
            done = finish(job)
            seconds = time.perf_counter() - start
            assert (done["seen"], done["indexed"], done["failed"]) == (len(expected), len(expected), 0), done
            assert sorted(point.payload.uri for point in machines.points().values()) == sorted(expected)
            return seconds
        finally:
            machines.close()


if __name__ == "__main__":
    sys.exit(main())
