"""The table of known fields: data for people and for metric labels, never for a decision."""

import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.fields import FIELDS, metric_field, metric_object

WHATSAPP_OBJECT = "whatsapp_business_account"
WHATSAPP = [
    "account_alerts",
    "account_review_update",
    "account_settings_update",
    "account_update",
    "automatic_events",
    "business_capability_update",
    "business_status_update",
    "business_username_updates",
    "calls",
    "consumer_profile",
    "flows",
    "group_lifecycle_update",
    "group_participants_update",
    "group_settings_update",
    "group_status_update",
    "history",
    "message_echoes",
    "message_template_components_update",
    "message_template_quality_update",
    "message_template_status_update",
    "messages",
    "messaging_handovers",
    "partner_solutions",
    "payment_configuration_update",
    "phone_number_name_update",
    "phone_number_quality_update",
    "security",
    "smb_app_state_sync",
    "smb_message_echoes",
    "standby",
    "template_category_update",
    "template_correct_category_detection",
    "tracking_events",
    "user_id_update",
    "user_preferences",
]


def test_each_field_is_listed_once_with_one_sentence() -> None:
    keys = [(field.object, field.name) for field in FIELDS]
    assert len(set(keys)) == len(keys)
    for field in FIELDS:
        assert re.fullmatch(r"[A-Z][^.]*\.", field.meaning), field


def test_all_fields_of_whatsapp_are_known() -> None:
    assert [field.name for field in FIELDS if field.object == "whatsapp_business_account"] == WHATSAPP


def test_overrides_are_for_whatsapp_alone() -> None:
    assert all(field.overridable is False for field in FIELDS if field.object != WHATSAPP_OBJECT)


def test_what_an_override_applies_to_bears_no_entry_time() -> None:
    """Meta: messaging-type fields. Account-level ones bear `entry.time`, and always go to the app's URL."""
    for field in FIELDS:
        assert not (field.overridable and field.entry_time)
        if field.object == WHATSAPP_OBJECT and field.entry_time:
            assert field.overridable is False


def test_the_objects_of_the_samples_are_known() -> None:
    assert {field.object for field in FIELDS} == {
        "whatsapp_business_account",
        "page",
        "instagram",
        "user",
        "permissions",
        "ad_account",
        "application",
        "certificate_transparency",
    }


def test_known_names_are_their_own_labels() -> None:
    for field in FIELDS:
        assert metric_field(field.object, field.name) == field.name
        assert metric_object(field.object) == field.object


def test_a_field_of_another_object_is_other() -> None:
    assert metric_field("page", "account_update") == "other"
    assert metric_field("invented", "messages") == "other"


@given(object_=st.text(), field=st.text())
def test_labels_are_bounded_whatever_comes_in(object_: str, field: str) -> None:
    known = {known.name for known in FIELDS}
    assert metric_field(object_, field) in known | {"other"}
    assert metric_object(object_) in {known.object for known in FIELDS} | {"other"}
