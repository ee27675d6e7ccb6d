"""Who is who in the test cluster: one authority, and a certificate for everybody, as kubeconfig files."""

import base64
import datetime as dt
import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = dt.timedelta(days=30)


class Authority:
    """A certificate authority that forgets its key with the process."""

    def __init__(self, folder: Path) -> None:
        """Make it anew, and put its certificate into a folder."""
        folder.mkdir()
        self._folder = folder
        self._key = _new_key()
        subject = _name("freeze-bench test cluster")
        unsigned = (
            _unsigned(subject, subject, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_may_sign_certificates(), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        )
        self._certificate = unsigned.sign(self._key, hashes.SHA256())
        self.path = folder / "ca.crt"
        self.path.write_bytes(_pem(self._certificate))

    def issue(self, user: str, *, group: str = "", hosts: Sequence[str] = ()) -> tuple[Path, Path]:
        """Certify a user for Kubernetes (its group is the organisation), or a server under its names and addresses.

        Returns:
            The files of the certificate and of its key.
        """
        key = _new_key()
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        unsigned = (
            _unsigned(_name(user, group), self._certificate.subject, key.public_key())
            .add_extension(uses, critical=False)
            .add_extension(issuer_key, critical=False)  # Python verifies strictly from 3.13 on, and asks for it
        )
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            unsigned = unsigned.add_extension(names, critical=False)
        stem = user.replace(":", "-")
        certificate = self._folder / f"{stem}.crt"
        certificate.write_bytes(_pem(unsigned.sign(self._key, hashes.SHA256())))
        return certificate, write_key(key, self._folder / f"{stem}.key")

    def write_kubeconfig(self, path: Path, server: str, user: str, group: str = "") -> Path:
        """Write what a client needs to reach the API server as a user."""
        certificate, key = self.issue(user, group=group)
        cluster = {"server": server, "certificate-authority-data": _base64(self.path)}
        credentials = {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
        name = "freeze-bench"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": credentials}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(document), "utf-8")
        return path


def write_key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a public and a private key that nobody certifies: service-account tokens are signed with such a pair."""
    key = _new_key()
    public = folder / f"{name}.pub"
    public_format = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, public_format))
    return public, write_key(key, folder / f"{name}.key")


def write_key(key: ec.EllipticCurvePrivateKey, path: Path) -> Path:
    """Write a private key for its owner alone."""
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    return path


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(user: str, group: str = "") -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
    if group:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    return x509.Name(attributes)


def _unsigned(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
    )


def _may_sign_certificates() -> x509.KeyUsage:
    others = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    unused = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(key_cert_sign=True, crl_sign=True, **unused)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
