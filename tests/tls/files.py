"""The files of a sound configuration, to be broken one by one."""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from gateway.settings.model import Client, Tls
from gateway.settings.values import Address
from gateway.simulator.pki import (
    META_CLIENT_NAME,
    SERVER_AUTH,
    Issued,
    PrivateKey,
    chain_pem,
    common_name,
    issue,
    make_pki,
)
from gateway.tls.material import MaterialProblem, examine_tls
from gateway.tls.revocation import RevocationList

PUBLIC = Address(host="::", port=8443)


def production(**knobs: object) -> tuple[Issued, Issued]:
    """Return a server certificate that is not for development, and its issuer."""
    root = issue(common_name("Public root"), issuer=None, ca=True)
    options = {"names": ("hooks.example.com",), "extended_key_usage": (SERVER_AUTH,), **knobs}
    return issue(common_name("hooks.example.com"), issuer=root, **options), root  # type: ignore[arg-type] # knobs


@dataclass(kw_only=True)
class Files:
    """All files of a sound configuration in production, to be broken one by one."""

    directory: Path
    tls: Tls

    @classmethod
    def write(cls, directory: Path) -> "Files":
        server, root = production()
        meta = issue(common_name("Meta root"), issuer=None, ca=True)
        files = cls(
            directory=directory,
            tls=Tls(
                certificate=directory / "server.pem",
                private_key=directory / "server.key",
                clients={"meta": Client(trust_anchors=(directory / "meta.pem",), names=(META_CLIENT_NAME,))},
            ),
        )
        files.serve(server, root)
        files.anchor(meta)
        return files

    def serve(self, *chain: Issued, key: PrivateKey | None = None) -> None:
        self.tls.certificate.write_bytes(chain_pem(*chain))
        pem = chain[0].key_pem if key is None else Issued(certificate=chain[0].certificate, key=key).key_pem
        self.tls.private_key.write_bytes(pem)
        self.tls.private_key.chmod(0o600)

    def anchor(self, *issued: Issued) -> None:
        (self.directory / "meta.pem").write_bytes(chain_pem(*issued))

    def with_client(self, **fields: object) -> "Files":
        """Give the client entry other fields."""
        meta = self.tls.clients["meta"].model_copy(update=fields)
        return Files(directory=self.directory, tls=self.tls.model_copy(update={"clients": {"meta": meta}}))

    def examine(self, address: Address = PUBLIC) -> list[MaterialProblem]:
        return examine_tls(self.tls, address=address)


def as_read(crl: x509.CertificateRevocationList, *, known: bool = True) -> RevocationList:
    """Take a list in as its file would be."""
    keys = [one.value.key_identifier for one in crl.extensions if hasattr(one.value, "key_identifier")]
    return RevocationList(
        path=Path("list.crl"),
        issuer=crl.issuer,
        issuer_key=keys[0] if keys else None,
        this_update=crl.last_update_utc,
        next_update=crl.next_update_utc,
        serials=frozenset(one.serial_number for one in crl),
        crl=crl,
        known_issuer=known,
    )


def development_tls(directory: Path) -> Tls:
    made = make_pki(directory / "pki")
    return Tls(
        certificate=made.server_certificate,
        private_key=made.server_key,
        clients={"meta": Client(trust_anchors=(made.meta_ca,), names=(META_CLIENT_NAME,))},
    )
