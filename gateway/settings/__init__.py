"""YAML -> validated, frozen settings; every complaint with file, line, column and key path."""
