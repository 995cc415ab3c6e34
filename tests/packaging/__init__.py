"""What is installed beside the command itself: unit, man page, completions, packages."""
