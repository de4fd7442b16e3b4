"""Certificates as a gateway with a public port has them: not marked as a development PKI's."""

from pathlib import Path

import trustme

from gateway.settings.model import META_NAME
from gateway.simulator.pki import PkiFiles


def public_pki(directory: Path) -> PkiFiles:
    """Make them; where the port may be public, and systemd's may, a development PKI is refused."""
    files = PkiFiles.in_directory(directory)
    directory.mkdir()
    server_ca, meta_ca = trustme.CA(), trustme.CA()
    server = server_ca.issue_cert("localhost", "127.0.0.1")
    client = meta_ca.issue_cert(common_name=META_NAME)
    for ca, path in ((server_ca, files.server_ca), (meta_ca, files.meta_ca)):
        ca.cert_pem.write_to_path(str(path))
    for leaf, chain, key in (
        (server, files.server_certificate, files.server_key),
        (client, files.client_certificate, files.client_key),
    ):
        chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(str(key))
    return files
