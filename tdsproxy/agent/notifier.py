"""Sending notices: a POST of JSON to webhooks, a mail through an SMTP server. A thread of its own, so that
nothing else waits for a receiver; what can't be delivered is tried again, then told to the log.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import queue
import smtplib
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tdsproxy.agent.notices import Notice
from tdsproxy.store.threads import lasting_thread

_TIMEOUT: Final = 10.0
_PAUSES: Final = (1.0, 5.0, 25.0)
_MOST_WAITING: Final = 1000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mail:
    """An SMTP server and who is written to. ``password_file`` holds the password of ``user``, or it is
    ``password``."""

    host: str
    to: tuple[str, ...]
    sender: str
    port: int = 25
    user: str | None = None
    password_file: Path | None = None
    starttls: bool = False
    password: str | None = field(default=None, repr=False)

    def secret(self) -> str | None:
        """The password. Raises OSError."""
        if self.password_file is None:
            return self.password
        return self.password_file.read_text(encoding="utf-8").strip()


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail to somebody else than who gets the notices."""

    to: tuple[str, ...]
    subject: str
    text: str
    copies: tuple[str, ...] = ()
    blind_copies: tuple[str, ...] = ()
    sender: str | None = None
    reply_to: str | None = None
    html: bool = False
    importance: str = "NORMAL"
    sensitivity: str = "NORMAL"
    ended: Callable[[str | None], None] | None = None
    """Hears, once, whether it was delivered (None), or why not."""


class Notifier:
    """``send`` returns at once; ``close`` delivers what waits, for a bounded time."""

    def __init__(
        self,
        webhooks: tuple[str, ...],
        mail: Mail | None,
        server: str,
        *,
        pauses: tuple[float, ...] = _PAUSES,
    ) -> None:
        self.goes_to = (webhooks, mail)
        self._webhooks = webhooks
        self._mail = mail
        self._server = server
        self._pauses = pauses
        self._waiting: queue.Queue[tuple[Notice | Letter, str] | None] = queue.Queue(_MOST_WAITING)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def send(self, notice: Notice) -> None:
        if self._webhooks or self._mail is not None:
            self._put(notice, notice.subject)

    def post(self, letter: Letter) -> bool:
        """Sends a mail of its own; False when there is no mail server."""
        if self._mail is None:
            return False
        return self._put(letter, letter.subject)

    def _put(self, item: Notice | Letter, subject: str) -> bool:
        if self._thread is None:
            self._thread = lasting_thread(self._run, "notices", self._closing)
            self._thread.start()
        moment = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        try:
            self._waiting.put_nowait((item, moment))
        except queue.Full:
            _log.error("too many notices wait: one about %s is dropped", subject)
            return False
        return True

    def close(self, seconds: float = 5.0) -> None:
        self._closing.set()
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(seconds)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            notice, moment = item
            if isinstance(notice, Letter):
                if self._mail is not None:
                    through = f"mail through {self._mail.host}"
                    failure = self._try(through, self._poster_of(self._mail, notice))
                    if notice.ended is not None and not (failure and self._closing.is_set()):
                        notice.ended(failure)
                continue
            for url in self._webhooks:
                self._try(f"the webhook at {urlsplit(url).hostname}", self._poster(url, notice, moment))
            if self._mail is not None:
                self._try(f"mail through {self._mail.host}", self._mailer(self._mail, notice, moment))

    def _try(self, what: str, deliver: Callable[[], None]) -> str | None:
        """None when it was delivered, else the kind of the error."""
        for pause in (*self._pauses, None):
            try:
                deliver()
                return None
            except (OSError, ValueError, smtplib.SMTPException) as error:
                # What the error says may hold the address with its secrets: its kind is enough.
                reason = getattr(error, "code", None) or getattr(error, "smtp_code", None)
                said = f"{type(error).__name__}{'' if reason is None else f' {reason}'}"
                if pause is None or self._closing.wait(pause):
                    _log.error("a notice can't be delivered to %s: %s", what, said)
                    return said
        return None

    def _poster(self, url: str, notice: Notice, moment: str) -> Callable[[], None]:
        body = json.dumps(self._plain(notice, moment), ensure_ascii=False).encode()

        def post() -> None:
            request = urllib.request.Request(
                url, body, {"Content-Type": "application/json", "User-Agent": "tdsproxy"}, method="POST"
            )
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
                answer.read(1024)

        return post

    def _plain(self, notice: Notice, moment: str) -> dict[str, Any]:
        """``text`` is what chat services show of a webhook's JSON."""
        return {
            "text": f"[{self._server}] {notice.text}",
            "server": self._server,
            "time": moment,
            "kind": notice.kind,
            "subject": notice.subject,
            "state": notice.state,
        }

    def _mailer(self, mail: Mail, notice: Notice, moment: str) -> Callable[[], None]:
        message = EmailMessage()
        message["From"], message["To"] = mail.sender, ", ".join(mail.to)
        message["Subject"] = f"[{self._server}] {notice.kind}: {notice.subject} ({notice.state})"
        message.set_content(f"{notice.text}\n\n{moment}\n")
        return self._through(mail, message)

    def _poster_of(self, mail: Mail, letter: Letter) -> Callable[[], None]:
        message = EmailMessage()
        message["From"] = letter.sender or mail.sender
        lists = {"To": letter.to, "Cc": letter.copies, "Bcc": letter.blind_copies}
        words = {"Importance": letter.importance, "Sensitivity": letter.sensitivity}
        for header, addresses in lists.items():
            if addresses:
                message[header] = ", ".join(addresses)
        for header, word in words.items():
            if word != "NORMAL":
                message[header] = word.capitalize()
        if letter.reply_to:
            message["Reply-To"] = letter.reply_to
        message["Subject"] = " ".join(letter.subject.split())
        message.set_content(letter.text, subtype="html" if letter.html else "plain")
        return self._through(mail, message)

    def _through(self, mail: Mail, message: EmailMessage) -> Callable[[], None]:
        def post() -> None:
            with smtplib.SMTP(mail.host, mail.port, timeout=_TIMEOUT) as server:
                if mail.starttls:
                    import ssl

                    server.starttls(context=ssl.create_default_context())
                secret = mail.secret()
                if mail.user is not None and secret is not None:
                    server.login(mail.user, secret)
                server.send_message(message)

        return post
