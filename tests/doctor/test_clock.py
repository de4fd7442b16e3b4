"""The kernel's word on its clock."""

import subprocess

import pytest

from gateway.doctor.clock import ask_kernel


def test_the_kernel_answers_within_its_own_bounds() -> None:
    clock = ask_kernel()
    assert clock.synchronised is not None
    assert clock.max_error_seconds is not None
    # The kernel caps it at 16 s (NTP_PHASE_LIMIT): another value means that the structure was read askew.
    assert 0 <= clock.max_error_seconds <= 16.0


def test_it_says_what_timedatectl_says() -> None:
    try:
        told = subprocess.run(
            ["timedatectl", "show", "--property=NTPSynchronized", "--value"],
            capture_output=True, text=True, check=True, timeout=10,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no timedatectl here")
    assert ask_kernel().synchronised is (told == "yes")
