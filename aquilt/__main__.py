"""The entry point of the command `aquilt`. What a user can put right is one line, without a stack trace."""
import sys
from importlib import import_module

from aquilt.commands.options import app

for name in "own", "records", "runs", "miniature":  # each adds its commands to the app
    import_module(f"aquilt.commands.{name}")


def main() -> None:
    "The entry point."
    sys.stdout.reconfigure(errors="backslashreplace")  # a name of a file may hold bytes that are no text
    app()


if __name__ == "__main__":
    main()
