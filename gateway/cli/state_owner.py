"""Whose the state is: commands that write there must be called as that user."""

import os
import pwd
from pathlib import Path

from gateway.errors import UsageError


def refuse_another_user(spool_directory: Path) -> None:
    """Refuse to write to a state directory as anybody but its owner.

    Files that root leaves there (the spool's, `audit.log`, `seal.key`, all 0600) the gateway's own user could
    not open any more. Nothing is refused where there is no state yet.

    Raises:
        UsageError: the spool's directory, or where there is none its parent, belongs to another user.
    """
    for directory in (spool_directory, spool_directory.parent):
        try:
            owner = directory.stat().st_uid
        except OSError:
            continue  # not there; or not to be looked into, as whoever writes will hear
        if owner != os.geteuid():
            user = user_name(owner)
            raise UsageError(
                f"{directory} belongs to {user}, and this is {user_name(os.geteuid())}: the gateway could not"
                " write the files that this would leave there",
                remedy=f"run as: sudo -u {user} gateway ...",
            )
        return


def user_name(number: int) -> str:
    """Return a user's name, or `'#NUMBER'` as sudo takes it."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"'#{number}'"
