"""An authority that makes certificates for clients, and takes them back."""

import datetime
import itertools

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
_serial = itertools.count(100)


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def ago(seconds):
    return datetime.datetime.utcnow() - datetime.timedelta(seconds=seconds)


def pem(thing):
    return thing.public_bytes(serialization.Encoding.PEM)


class Authority:
    """directory: where files go."""

    def __init__(self, directory, title="Test CA"):
        self.dir, self.title = directory, title
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.file = directory / f"{title}.pem"
        made = x509.CertificateBuilder().subject_name(name(title)).issuer_name(name(title)) \
            .public_key(self.key.public_key()).serial_number(next(_serial)) \
            .not_valid_before(ago(3600)).not_valid_after(ago(-86400)) \
            .add_extension(x509.BasicConstraints(True, None), True)
        self.file.write_bytes(pem(made.sign(self.key, hashes.SHA256())))

    def client(self, cn="", emails=(), upn=(), since=60, until=3600,
               purpose=ExtendedKeyUsageOID.CLIENT_AUTH):
        """A file with certificate and key. since: seconds ago; until: seconds from now."""
        key, serial = ec.generate_private_key(ec.SECP256R1()), next(_serial)
        names = [x509.RFC822Name(e) for e in emails]
        names += [x509.OtherName(UPN, b"\x0c" + bytes([len(u)]) + u.encode()) for u in upn]
        made = x509.CertificateBuilder().subject_name(name(cn)).issuer_name(name(self.title)) \
            .public_key(key.public_key()).serial_number(serial) \
            .not_valid_before(ago(since)).not_valid_after(ago(-until)) \
            .add_extension(x509.BasicConstraints(False, None), True)
        if purpose:
            made = made.add_extension(x509.ExtendedKeyUsage([purpose]), False)
        if names:
            made = made.add_extension(x509.SubjectAlternativeName(names), False)
        path = self.dir / f"client-{serial}.pem"
        path.write_bytes(pem(made.sign(self.key, hashes.SHA256())) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))
        return path

    def revoke(self, *clients, until=3600):
        """The list of those that do not count any more; it is up to date until then."""
        made = x509.CertificateRevocationListBuilder().issuer_name(name(self.title)) \
            .last_update(ago(7200)).next_update(ago(-until))
        for path in clients:
            serial = int(path.stem.rpartition("-")[2])
            made = made.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(
                serial).revocation_date(ago(60)).build())
        path = self.dir / f"{self.title}.crl"
        path.write_bytes(pem(made.sign(self.key, hashes.SHA256())))
        return path
