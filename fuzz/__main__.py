"""`make fuzz FUZZ="http1 --seconds 600"`: one target under atheris. Ends with 1 where something was found.

Inputs that led somewhere new are kept in fuzz/.corpus/TARGET, and taken up again; one that broke something is
written to fuzz/found/TARGET, where `make test` tries it from then on.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import atheris  # type: ignore[import-not-found] # in fuzz/.venv alone

HERE = Path(__file__).resolve().parent
INSTRUMENTED = ["gateway", "h2", "hpack", "hyperframe", "hypercorn", "msgspec", "ruamel.yaml"]
LONGEST_BYTES = 4096
"""Of an input: enough for a body with several changes, or a head beyond its limit with its cuts."""
STUCK_SECONDS = 25
"""For one input: longer than a connection may hang by the target's own patience."""

with atheris.instrument_imports(include=INSTRUMENTED):
    from fuzz.targets import NAMES, load


def main() -> None:
    """Read the arguments, lay out the corpus, and hand over to libFuzzer."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--seconds", type=int, default=600, help="how long (default: 600)")
    arguments = parser.parse_args()
    with atheris.instrument_imports(include=INSTRUMENTED):
        target = load(arguments.target)
    corpus, found = HERE / ".corpus" / target.name, HERE / "found" / target.name
    for directory in (corpus, found):
        directory.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    options = [
        f"-max_total_time={arguments.seconds}",
        f"-max_len={LONGEST_BYTES}",
        f"-timeout={STUCK_SECONDS}",
        f"-artifact_prefix={found}/",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.one)
    atheris.Fuzz()


main()
