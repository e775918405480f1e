"""Files for the holder of an OpenPGP key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tdsproxy.cli.errors import CommandError

if TYPE_CHECKING:
    from pysequoia import Cert


def check_recipient(recipient: Path) -> None:
    """Raises CommandError when ``recipient`` is no OpenPGP certificate, or the extra is not installed."""
    _certificate(recipient)


def encrypt(source: Path, recipient: Path, out: Path) -> None:
    """Write ``source``, encrypted for the certificate in the file ``recipient``, as the file ``out``, in
    binary form. Raises CommandError."""
    certificate = _certificate(recipient)
    from pysequoia import encrypt_file

    try:
        encrypt_file(str(source), str(out), recipients=[certificate], armor=False)
    except Exception as error:
        out.unlink(missing_ok=True)
        raise CommandError(f"'{out}' cannot be encrypted for '{recipient}': {error}.") from error


def _certificate(recipient: Path) -> Cert:
    try:
        from pysequoia import Cert
    except ImportError as error:
        raise CommandError(
            "OpenPGP needs a package that is not here: pip install 'tdsproxy[pgp]'."
        ) from error
    try:
        return Cert.from_bytes(recipient.read_bytes())
    except OSError as error:
        raise CommandError(f"'{recipient}' cannot be read: {error.strerror}.") from error
    except Exception as error:
        raise CommandError(f"'{recipient}' is no OpenPGP certificate: {error}.") from error
