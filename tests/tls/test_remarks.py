"""What is worth a look and keeps nothing from working."""

from datetime import UTC, datetime, timedelta

from gateway.simulator.pki import common_name, issue
from gateway.tls.material import MaterialProblem
from gateway.tls.remarks import remarks_tls
from tests.tls.files import Files, production

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def remark(files: Files) -> MaterialProblem:
    assert files.examine() == []
    (only,) = remarks_tls(files.tls)
    assert only.remedy
    return only


def test_a_key_that_everybody_may_read_is_remarked(files: Files) -> None:
    files.tls.private_key.chmod(0o644)
    assert "open to every user" in remark(files).message


def test_a_chain_without_intermediate_is_remarked(files: Files) -> None:
    server, _ = production()
    files.serve(server)
    assert "holds no intermediate" in remark(files).message


def test_a_chain_out_of_order_is_remarked(files: Files) -> None:
    root = issue(common_name("Root"), issuer=None, ca=True)
    between = issue(common_name("Between"), issuer=root, ca=True)
    server = issue(common_name("hooks.example.com"), issuer=between, names=("hooks.example.com",))
    files.serve(server, root, between)
    assert "do not stand in order" in remark(files).message


def test_a_certificate_near_its_end_is_remarked(files: Files) -> None:
    files.serve(*production(not_after=NOW + 5 * DAY + timedelta(hours=1)))
    assert "expires in 5 days" in remark(files).message


def test_the_servers_own_ca_as_anchor_is_remarked(files: Files) -> None:
    """It may be meant (a small company with one CA); more often the two chains were confused."""
    server, root = production()
    files.serve(server, root)
    files.anchor(root)
    assert "also the CA of the gateway's own certificate" in remark(files).message


def test_an_expired_anchor_beside_a_good_one_is_a_rotation_and_a_remark(files: Files) -> None:
    """A gateway that refused to start for it would be an outage of its own making."""
    old = issue(common_name("Old"), issuer=None, ca=True, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    new = issue(common_name("New"), issuer=None, ca=True)
    files.anchor(old, new)
    assert files.examine() == []
    (remark,) = remarks_tls(files.tls)
    assert remark.key_path == ("tls", "clients", "meta", "trust_anchors", 0)
    assert "has expired" in remark.message
