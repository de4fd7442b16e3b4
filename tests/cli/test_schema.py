"""`gateway schema`: JSON on stdout, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.settings.schema import json_schema


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_the_schema_is_printed_as_json_without_any_configuration(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "gateway", "schema", *arguments]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout) == json_schema()
