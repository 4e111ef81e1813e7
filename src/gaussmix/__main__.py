"""`python -m gaussmix` is the `gaussmix` command."""

from gaussmix.cli import main

if __name__ == "__main__":
    main()
