"""`lookalike serve`."""

import ipaddress
import json
from typing import Annotated
from urllib.parse import quote

import typer

from retrieval.api_keys import load_keys
from retrieval.console import JsonFlag, say
from retrieval.settings import load_settings
from retrieval.wording import count_of
from web.server import listen, run

OPEN_TO_ALL = (
    "Anyone who can reach this address can search and view photos. To require a key, set LOOKALIKE_API_KEYS and "
    "LOOKALIKE_READS_NEED_KEY=true."
)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all network interfaces.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 selects a free one.")] = 5000,
    as_json: JsonFlag = False,
) -> None:
    """Serve the search page and the JSON API."""
    settings = load_settings()
    (key, *_) = load_keys(settings)
    with listen(host, port) as listener:
        name = f"[{host}]" if ":" in host else host
        url = f"http://{name}:{listener.getsockname()[1]}"
        is_public = not ipaddress.ip_address(listener.getsockname()[0]).is_loopback
        # A configured key is not printed: it is known, and log files are read by more people.
        login = f"{url}/login" if settings.api_keys else f"{url}/login?key={quote(key.secret, safe='')}"

        def ready(model: str | None, photos: int) -> None:
            say(f"Serving {count_of(photos)}{f' with {model}' if model else ''} at {url} (press Ctrl+C to stop)")
            if not photos:
                say("There are no photos yet. The page offers to add some.")
            say(f"To add photos, run jobs and change models, sign in at {login}")
            if is_public and not settings.reads_need_key:
                say(OPEN_TO_ALL, "yellow")
            if as_json:
                print(json.dumps({"url": url, "login_url": login, "model": model, "photos": photos}), flush=True)

        run(settings, listener, ready)
