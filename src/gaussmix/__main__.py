"""The `gaussmix` command, also as `python -m gaussmix`: Ctrl-C is one line while the command line is loaded, too."""

import sys


def main() -> int:
    """Run the command that the process was started with; returns its exit status."""
    try:
        from gaussmix.cli import main as run

        return run()
    except KeyboardInterrupt:
        print("gaussmix: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
