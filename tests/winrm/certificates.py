"""Certificates for a server on this machine, made anew for each."""

import datetime
import hashlib
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
NAMES = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]


@dataclass
class Pair:
    certificate: Path
    key: Path
    # Whoever signed it, if that was not itself.
    authority: Path | None
    fingerprint: str
    # What a login is bound to (RFC 5929, 4.1).
    binding: bytes


def signed(subject, public_key, issuer, issuer_key, is_authority, algorithm):
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if not is_authority:
        builder = builder.add_extension(x509.SubjectAlternativeName(NAMES), critical=False)
    return builder.sign(issuer_key, algorithm)


def make(folder, kind, name_of_hash):
    """Makes a certificate that is "self-signed", as a listener of Windows mostly has, or signed by a "ca"."""
    key, algorithm = ec.generate_private_key(ec.SECP256R1()), HASHES[name_of_hash]
    authority = None
    if kind == "ca":
        authority, root_key = folder / "ca.pem", ec.generate_private_key(ec.SECP256R1())
        root = signed("authority", root_key.public_key(), "authority", root_key, True, algorithm)
        authority.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        certificate = signed("server", key.public_key(), "authority", root_key, False, algorithm)
    else:
        certificate = signed("server", key.public_key(), "server", key, False, algorithm)
    pair = folder / "server.pem", folder / "server.key"
    pair[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pair[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    return Pair(*pair, authority, hashlib.sha256(der).hexdigest(), hashlib.new(name_of_hash, der).digest())
