"""Meta's side of the set-up: `graph`. Used by `gateway subscriptions`; what serves has no part in it.

So the secrets here are references: the serving process neither holds a token of the Graph API nor fails for
want of one.
"""

from typing import Annotated, Final, Self

from pydantic import model_validator

from gateway.settings.reading import fault
from gateway.settings.section import Model
from gateway.settings.values import (
    ExactIdList,
    GraphUrl,
    GraphVersion,
    Name,
    Otherwise,
    OverrideUrl,
    SecretReference,
)

TOKEN_VARIABLE: Final = "META_ACCESS_TOKEN"  # noqa: S105 (its name)
"""Where the token is, unless the file says otherwise."""


class Subscription(Model):
    """What should be so for one or several WhatsApp Business Accounts: the app is subscribed, and this
    override is set, or none."""

    waba: ExactIdList
    """Ids of WhatsApp Business Accounts."""
    override_url: OverrideUrl | None = None
    """Alternate callback URL for the messaging-type fields of these accounts; absent: the app's own."""
    verify_token: Annotated[
        SecretReference | None,
        Otherwise("that of the app whose path is in `override_url`, else of `graph.app`"),
    ] = None
    """What the verification GET to `override_url` carries."""

    @model_validator(mode="after")
    def _token_has_a_use(self) -> Self:
        if self.verify_token is not None and self.override_url is None:
            raise fault(
                "stands beside no override_url", "add override_url, or remove it", at=("verify_token",)
            )
        return self


class Graph(Model):
    """Meta's side of the set-up, for `gateway subscriptions`; see docs/subscriptions.md."""

    token: Annotated[SecretReference, Otherwise(f"`{{env: {TOKEN_VARIABLE}}}`")] = SecretReference(
        env=TOKEN_VARIABLE
    )
    """Access token of a system user with the permission whatsapp_business_management. Read by the commands
    that call Meta, and by nothing else."""
    version: GraphVersion = "v25.0"
    """Version of the Graph API."""
    base_url: GraphUrl = "https://graph.facebook.com"
    """Where the Graph API is; https alone."""
    app: Annotated[Name | None, Otherwise("the first of `apps`")] = None
    """The app that the token belongs to."""
    subscriptions: tuple[Subscription, ...] = ()
    """What `gateway subscriptions ensure` brings about and `check` compares with."""

    @model_validator(mode="after")
    def _each_account_once(self) -> Self:
        seen: set[str] = set()
        for index, entry in enumerate(self.subscriptions):
            for waba in entry.waba:
                # Not a digit: a list that was not opened, and stands for any.
                if waba in seen and waba.isdigit():
                    raise fault(
                        f"the account {waba} stands in an entry above, too",
                        "keep one",
                        at=("subscriptions", index, "waba"),
                    )
            seen.update(entry.waba)
        return self
