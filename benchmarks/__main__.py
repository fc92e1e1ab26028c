"""Runs all benchmarks, one after another: ``python -m benchmarks [--json] [NAME ...]``."""

import argparse
import subprocess
import sys
from pathlib import Path

SHARED = {"__main__", "callers", "crowd", "figures", "sessions", "sockets", "watching"}


def main() -> None:
    """Run those that are named, or all."""
    names = sorted({path.stem for path in Path(__file__).parent.glob("*.py")} - SHARED)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--json", action="store_true", help="print lines of JSON")
    arguments = parser.parse_args()
    for name in arguments.names or names:
        if name not in names:
            parser.error(f"{name} is no benchmark: {', '.join(names)}")
        flags = ["--json"] if arguments.json else []
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *flags], check=True)  # noqa: S603  - our own


if __name__ == "__main__":
    main()
