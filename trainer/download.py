"""Whether a host can be reached, known within seconds; libraries that download wait for minutes without a network."""

import threading
import urllib.error
import urllib.request

PATIENCE = 4.0


def reachable(url: str, patience: float = PATIENCE) -> bool:
    """Whether a server answers at this URL (with whatever status) within `patience` seconds, name look-up included."""
    answers: list[bool] = []
    asking = threading.Thread(target=lambda: answers.append(_answers(url, patience)), daemon=True)
    asking.start()
    asking.join(patience)
    return answers == [True]


def _answers(url: str, timeout: float) -> bool:
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=timeout):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500 and error.code not in (403, 407)  # a proxy that refuses speaks in these
    except (OSError, ValueError):
        return False
