"""``python -m skxmodal.cli``, where the command itself is not on the path."""

from skxmodal.cli import main

if __name__ == "__main__":
    main()
