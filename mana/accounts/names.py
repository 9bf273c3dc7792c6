"""What people sign in with, in the one form in which it is compared: names, e-mail addresses, phone numbers."""

from __future__ import annotations

import re
import secrets
import unicodedata

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

#: Letters of other scripts that look like Latin ones (from Unicode's confusables.txt), by what they look like.
_LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁһԛԝӏьвкмнтгпѵү" + "αορυνικτχβηεμωγσ" + "օսոհցքյ",
    "aeopcyxijsdhqwlbbkmhtrnvy" + "aopuviktxbnemwyo" + "ounhgpj",
)
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164
_PHONE_PUNCTUATION = re.compile(r"[\s().\-/]")
_GUEST = re.compile(r"guest-[0-9a-f]{16}")
_DIGITS_ONLY = re.compile(r"\+?[0-9]{7,15}")


def username_key(username: str) -> str:
    """What two names have in common that people would take for one another: case, width, accents' form, look-alikes."""
    folded = unicodedata.normalize("NFKC", username).casefold()
    return unicodedata.normalize("NFKC", folded).translate(_LOOKALIKES)


def after(prefix: str) -> str | None:
    """The first text after all that begin with ``prefix``, in the order of code points; ``None`` if there is none."""
    for end in range(len(prefix), 0, -1):
        following = ord(prefix[end - 1]) + 1
        if following == 0xD800:  # surrogates are no characters
            following = 0xE000
        if following <= 0x10FFFF:
            return prefix[: end - 1] + chr(following)
    return None


def new_guest_name() -> str:
    """The name of an account that nobody has named yet."""
    return f"guest-{secrets.token_hex(8)}"


def is_guest_name(username: str) -> bool:
    """Whether it is a name that ``new_guest_name`` gives. People can't choose these."""
    return _GUEST.fullmatch(username) is not None


def check_username(username: str) -> None:
    """Refuses what can't be told from another name, or from an address or number. Raises ``ValidationError``."""
    if username.strip() != username or not username.isprintable():
        raise ValidationError("Enter a name without surrounding spaces or control characters.")
    scripts = {_script(character) for character in username if character.isalpha()}
    if len(scripts - {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "HALFWIDTH", "FULLWIDTH"}) > 1:
        raise ValidationError("Enter a name in letters of one script.")
    if "@" in username:
        raise ValidationError("Enter a name without @: it would look like an e-mail address.")
    if _DIGITS_ONLY.fullmatch(username):
        raise ValidationError("Enter a name that is no phone number.")
    if is_guest_name(username):
        raise ValidationError("Enter a name that is no guest's.")


def _script(letter: str) -> str:
    # Unicode names begin with the script: LATIN SMALL LETTER A. Python has no other table of scripts.
    return unicodedata.name(letter, "UNKNOWN").split(" ", 1)[0].split("-", 1)[0]


def email_key(email: str) -> str:
    """An e-mail address as it is compared: without regard to case, which no provider has any."""
    return unicodedata.normalize("NFKC", email.strip()).casefold()


def checked_email(email: str) -> str:
    """A usable address. Raises ``ValidationError``."""
    email = email.strip()
    validate_email(email)
    return email


def checked_phone(phone: str) -> str:
    """A phone number in the international form (E.164), ``+4930901820``. Raises ``ValidationError``."""
    number = _PHONE_PUNCTUATION.sub("", phone)
    if number.startswith("00"):
        number = f"+{number[2:]}"
    if not _PHONE.fullmatch(number):
        raise ValidationError("Enter a phone number with its country code, such as +49 30 901820.")
    return number
