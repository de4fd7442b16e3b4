"""The admin port: health, metrics, what commands ask of a running gateway. The only importer of Starlette."""
