"""An index as a file, and back: columns for other programs, and what another index needs to hold the same photos."""
