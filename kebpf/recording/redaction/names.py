"""Tells by its name whether a field, header, parameter or column holds a secret.

A name is read as words (``clientSecret``, ``client_secret``, ``Client-Secret``); its last ones
decide, so that ``token_type`` and ``password_changed_at`` are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

PASSWORD = "password"
TOKEN = "token"
KEY = "key"
CARD = "card"
EMAIL = "e-mail address"
OTHER = "other"
DRAWN = "drawn"  # a name that tells only if its value looks drawn at random


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_MOST_NAME = 64  # characters
_MOST_KEPT = 4096  # names remembered
_MOST_WORDS = 4  # of a name's end that decide

# The last words of a name, written together.
_TAILS = {
    PASSWORD: (
        "password passwords passwd passwort pwd passphrase passcode motdepasse contrasena senha"
        " userpass dbpass otp totp mfacode otpcode recoverycode recoverycodes backupcode"
        " backupcodes securityanswer"
    ),
    TOKEN: (
        "token accesstoken jwt bearer authorization authheader sessionid sessid sessionkey"
        " sessiontoken phpsessid jsessionid aspsessionid laravelsession csrf xsrf csrftoken"
        " xcsrf codeverifier clientassertion samlresponse rememberme ticketgrantingticket"
    ),
    KEY: (
        "secret secrets apikey apikeys accesskey accesskeyid secretkey privatekey signingkey"
        " encryptionkey authkey subscriptionkey functionskey masterkey sharedkey clientsecret"
        " credential credentials apisecret webhooksecret hmackey sshkey licensekey requirepass"
        " masterauth connectionstring"
    ),
    CARD: (
        "cardnumber creditcard creditcardnumber ccnumber ccnum cvv cvc securitycode"
        " cardverificationvalue cardcode"
    ),
    OTHER: "ssn socialsecuritynumber nationalinsurancenumber iban",
    DRAWN: "key session sid auth remember sig signature apitoken code nonce ticket",
}
_KINDS = {word: kind for kind, words in _TAILS.items() for word in words.split()}
_ENDINGS = ("password", "passwd", "token", "apikey", "secret")
_WHOLE = {"pass": PASSWORD, "pin": PASSWORD, "pw": PASSWORD}  # only if it is all of the name
# Words behind the telling ones that change nothing.
_QUALIFIERS = _words(
    "hash hashed digest salt confirmation confirm again repeat repeated value plain encrypted"
    " enc text string hex current old new"
)
# Words before them that make it another thing: ``max_token``, ``has_password``.
_OTHERWISE = _words("is has max min num total count require requires required allow")
_NO_SECRETS = _words(
    "pagetoken nextpagetoken continuationtoken nexttoken synctoken typetoken"
    " publickey primarykey foreignkey cachekey sortkey partitionkey idempotencykey"
)
_SHADOWS = _words("page next continuation sync cursor idempotency public primary foreign")
# What any name that tells has in it, in lower case: a text without these is not looked into.
STEMS = (
    "pass", "pwd", "token", "secret", "key", "auth", "sess", "sid", "jwt", "bearer", "srf",
    "card", "cvv", "cvc", "ccn", "otp", "cred", "pin", "ssn", "code", "iban", "sig", "security",
    "contrasena", "senha", "ticket", "remember", "social",
)  # fmt: skip


class Names:
    """The names that tell, ``extra`` ones included, which are given as people write them."""

    def __init__(self, extra: Iterable[str] = ()) -> None:
        self._extra = {join_words(name) for name in extra}
        self._known: dict[str, str | None] = {}
        self.stems = (*STEMS, *(_longest_word(name) for name in extra))

    def classify(self, name: str) -> str | None:
        """What kind of secret such a field holds; `DRAWN` if its value has to tell as well."""
        if name in self._known:
            return self._known[name]
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        kind = self._known[name] = self._judge(name)
        return kind

    def _judge(self, name: str) -> str | None:
        if len(name) > _MOST_NAME:
            return None
        words = split_words(name)
        if "".join(words) in self._extra:
            return OTHER
        while len(words) > 1 and words[-1] in _QUALIFIERS:
            words.pop()
        if not words or words[0] in _OTHERWISE or "".join(words) in _NO_SECRETS:
            return None
        if len(words) == 1 and words[0] in _WHOLE:
            return _WHOLE[words[0]]
        if len(words) > 1 and words[-2] in _SHADOWS:
            return None
        tails = ("".join(words[-size:]) for size in range(min(_MOST_WORDS, len(words)), 0, -1))
        known = (_KINDS[tail] for tail in tails if tail in _KINDS)
        return next(known, None) or _judge_ending(words[-1])

    def may_hold(self, text: str) -> bool:
        """Whether a text, in lower case, can hold any name that tells."""
        for stem in self.stems:  # noqa: SIM110 - a generator takes twice as long
            if stem in text:
                return True
        return False


def _judge_ending(word: str) -> str | None:
    """Of words that were written together: ``PGPASSWORD``, ``csrfmiddlewaretoken``."""
    return next((_KINDS[end] for end in _ENDINGS if word.endswith(end)), None)


def split_words(name: str) -> list[str]:
    """The words of a name in lower case, digits left out."""
    return [word.lower() for word in _WORD.findall(name)]


def join_words(name: str) -> str:
    """A name in the one spelling in which names are compared."""
    return "".join(split_words(name))


def _longest_word(name: str) -> str:
    return max(split_words(name), key=len, default=name.lower())
