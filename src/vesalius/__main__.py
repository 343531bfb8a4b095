"""``python -m vesalius``: the command, where scripts are not on the path."""

from vesalius.cli import main

if __name__ == "__main__":
    main()
