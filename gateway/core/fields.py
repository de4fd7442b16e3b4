"""The known webhook fields of each object: what each means, whether overrides apply, how its entries look.

One table for people (`gateway fields`, docs/fields.md), metric labels, samples and `gateway subscriptions`.
Data, not law: unknown fields are welcome. What is not known is None, and never a guess.
"""

from dataclasses import dataclass
from typing import Final

OTHER: Final = "other"
"""The metric label of every field and object that is not in the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One webhook field of one object."""

    object: str
    name: str
    meaning: str
    """One sentence."""
    overridable: bool | None
    """Whether alternate callback URLs of an account or a phone number apply to it; None: not known."""
    entry_time: bool | None
    """Whether `entry.time` is present; None: not known."""


_MEANINGS: Final = {
    "whatsapp_business_account": {
        "account_alerts": (
            "An alert on the account, a number or the business profile: limits, quality, official "
            "business status."
        ),
        "account_review_update": "Meta has reviewed the WhatsApp Business Account and decided.",
        "account_settings_update": "A setting of the account or of one of its numbers has changed.",
        "account_update": (
            "The account itself has changed: verified, banned, restricted, shared with a partner, or deleted."
        ),
        "automatic_events": "Meta has recognised an event in a conversation, such as a purchase or a lead.",
        "business_capability_update": (
            "A limit of the business has changed: numbers per account, or conversations per day."
        ),
        "business_status_update": "The status of the owning business has changed.",
        "business_username_updates": "The username of the business has been approved, reserved or deleted.",
        "calls": "A call was started, accepted or ended, or its status has changed.",
        "consumer_profile": "Known by its name alone: what it brings is documented nowhere that we know of.",
        "flows": (
            "A Flow has changed its status, or its endpoint has trouble with latency, errors or availability."
        ),
        "group_lifecycle_update": "A group was created or deleted, or that has failed.",
        "group_participants_update": (
            "People have joined, left or been removed from a group, or ask to join."
        ),
        "group_settings_update": "Subject, description or picture of a group has changed.",
        "group_status_update": "A group was suspended, or its suspension was lifted.",
        "history": (
            "Chats from before the number was taken into use with the Cloud API are handed over, in parts."
        ),
        "message_echoes": "A message that the business has sent by another way than this app.",
        "message_template_components_update": (
            "The text of a template, its header, footer or buttons, has changed."
        ),
        "message_template_quality_update": "The quality score of a template has changed.",
        "message_template_status_update": "A template was approved, rejected, paused, disabled or flagged.",
        "messages": (
            "Messages of consumers, statuses of sent messages, system events, and errors outside any message."
        ),
        "messaging_handovers": "Control over a conversation has passed from one app to another.",
        "partner_solutions": "A multi-partner solution was created, changed, accepted or deactivated.",
        "payment_configuration_update": "A payment configuration of the account has changed.",
        "phone_number_name_update": "The display name of a number was reviewed.",
        "phone_number_quality_update": "The throughput or messaging limit of a number has changed.",
        "security": "A security setting of a number has changed, such as its two-step verification PIN.",
        "smb_app_state_sync": "Contacts kept in the WhatsApp Business app are synchronised.",
        "smb_message_echoes": "A message that the business has sent from the WhatsApp Business app.",
        "standby": "Messages and statuses of a conversation that another app controls, to be watched only.",
        "template_category_update": "The category of a template is about to change or has changed.",
        "template_correct_category_detection": "Meta takes the category of a template for the wrong one.",
        "tracking_events": "Events of message links and buttons that are tracked.",
        "user_id_update": "The business-scoped id of a consumer has changed.",
        "user_preferences": "A consumer has stopped or resumed marketing messages.",
    },
    "page": {
        "feed": "Something was posted, commented, liked or shared on the Page.",
        "leadgen": "Somebody has filled in a lead form.",
        "mention": "The Page was mentioned in a post or a comment.",
        "message_deliveries": "Messages of the Page were delivered.",
        "message_echoes": "A message that the Page itself has sent.",
        "message_reactions": "Somebody has reacted to a message.",
        "message_reads": "Messages of the Page were read.",
        "messages": "Somebody has written to the Page.",
        "messaging": "An event of the Page's conversations for which no subscription name is known here.",
        "messaging_postbacks": "Somebody has pressed a button with a postback.",
        "standby": "An event of a conversation that another app controls, to be watched only.",
    },
    "instagram": {
        "comments": "Somebody has commented on media of the account.",
        "live_comments": "Somebody has commented on a live broadcast of the account.",
        "mentions": "The account was mentioned in a comment or a caption.",
        "message_deliveries": "Messages of the account were delivered.",
        "message_echoes": "A message that the account itself has sent.",
        "message_reactions": "Somebody has reacted to a message.",
        "message_reads": (
            "Messages of the account were read; Meta's dashboard calls the subscription messaging_seen."
        ),
        "messages": "Somebody has written to the account, or mentioned it in a story.",
        "messaging": "An event of the account's conversations for which no subscription name is known here.",
        "messaging_postbacks": "Somebody has pressed a button with a postback.",
        "standby": "An event of a conversation that another app controls, to be watched only.",
        "story_insights": "The figures of a story that has expired.",
    },
    "user": {
        "email": "The e-mail address of a user has changed.",
        "photos": "Photos of a user were added or changed.",
    },
    "permissions": {
        "connected": "A user has connected or disconnected the app.",
        "instagram_basic": "A user has granted or revoked the permission instagram_basic.",
    },
    "ad_account": {
        "field_changed": "A field of an object of the ad account has changed.",
        "in_process_ad_objects": "An ad object has left the state of being processed.",
        "with_issues_ad_objects": "An ad object has run into an issue.",
    },
    "application": {
        "async_requests": "An asynchronous request of the app has ended.",
    },
    "certificate_transparency": {
        "certificate": "A certificate was issued for a domain that the app watches.",
    },
}
"""Object -> field -> meaning, from Meta's reference pages of each product."""

_WHATSAPP: Final = "whatsapp_business_account"

_MESSAGING: Final = frozenset(
    {
        "automatic_events", "calls", "group_lifecycle_update", "group_participants_update",
        "group_settings_update", "group_status_update", "history", "message_echoes", "messages",
        "smb_app_state_sync", "smb_message_echoes", "standby", "tracking_events", "user_id_update",
        "user_preferences",
    }
)  # fmt: skip
"""Of WhatsApp: about one phone number (`value.metadata`), without `entry.time`; overrides apply to these and
to no others (Meta, "Override the callback URL")."""

_BETWEEN: Final = frozenset({"account_settings_update", "messaging_handovers"})
"""Of WhatsApp: without `entry.time`, but without `value.metadata` too; on overrides Meta says nothing."""

_NEVER_SEEN: Final = frozenset(
    {
        (_WHATSAPP, "consumer_profile"),
        ("page", "mention"), ("page", "messaging"),
        ("instagram", "live_comments"), ("instagram", "message_deliveries"), ("instagram", "message_echoes"),
        ("instagram", "message_reactions"), ("instagram", "messaging"), ("instagram", "messaging_postbacks"),
        ("instagram", "standby"),
        ("user", "email"),
    }
)  # fmt: skip
"""Known by name: there is no sample of them."""


def _field(object_: str, name: str, meaning: str) -> Field:
    """Say what follows from the sets above; all other fields bear `entry.time`, and know no overrides."""
    overridable: bool | None = False
    entry_time: bool | None = True
    if object_ == _WHATSAPP and name in _MESSAGING | _BETWEEN:
        overridable, entry_time = (True if name in _MESSAGING else None), False
    if (object_, name) in _NEVER_SEEN:
        overridable, entry_time = (None if object_ == _WHATSAPP else False), None
    return Field(object=object_, name=name, meaning=meaning, overridable=overridable, entry_time=entry_time)


FIELDS: tuple[Field, ...] = tuple(
    _field(object_, name, meaning)
    for object_, fields in _MEANINGS.items()
    for name, meaning in fields.items()
)


def metric_field(object_: str, field: str) -> str:
    """Return the field if it is known for the object, else `other`: bounds the cardinality of metrics."""
    return field if field in _MEANINGS.get(object_, ()) else OTHER


def metric_object(object_: str) -> str:
    """Return the object if it is known, else `other`."""
    return object_ if object_ in _MEANINGS else OTHER
