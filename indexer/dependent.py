"""`python -m indexer.dependent MODULE ARGUMENT…`: run a module as a program that ends when its standard input closes.

A process that is killed can't end the programs that it started, but the system closes their standard input.
"""

import os
import runpy
import sys
import threading

DEPENDENT = [sys.executable, "-m", "indexer.dependent"]  # before a module and its arguments


def _main() -> None:
    sys.argv = sys.argv[1:]
    threading.Thread(target=_end_with_input, daemon=True).start()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_input() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    _main()
