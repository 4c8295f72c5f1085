"""The command `aquilt`: each subcommand is one call of the package."""
