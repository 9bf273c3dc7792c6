"""Use cases of accounts. REST, sockets, the admin and a project's own code call these.

The functions are synchronous; each has an async twin with an ``a`` before its name.
"""

from mana.accounts.permissions import grant, permissions_of, revoke, role_of
from mana.accounts.services.deletion import delete_account
from mana.accounts.services.identities import guest_identity, identity_from_token, identity_of, identity_person
from mana.accounts.services.passwords import (
    change_password,
    check_password,
    request_password_reset,
    reset_password,
    send_reset_mails,
)
from mana.accounts.services.profiles import (
    find_people,
    hides_people,
    is_hidden,
    remove_avatar,
    set_avatar,
    set_status,
    update_profile,
    without_controls,
)
from mana.accounts.services.registration import (
    change_email,
    change_phone,
    change_username,
    check_phone,
    claim,
    register,
    register_guest,
)
from mana.accounts.services.sign_ins import (
    SIGN_IN_CLAIM,
    Client,
    Tokens,
    account_key,
    device,
    devices,
    disable,
    disconnect,
    enable,
    end_sign_ins,
    make_ticket,
    note_connection,
    platform_of,
    refresh,
    remove_device,
    rename_device,
    revoke_sign_in,
    session_renamed,
    session_sign_in,
    sign_in,
    sign_in_with_password,
    sign_out,
)
from mana.accounts.services.verification import (
    is_verified,
    mark_verified,
    request_email_verification,
    request_phone_verification,
    send_verification_mail,
    verify_email,
    verify_phone,
)
from mana.accounts.stores import Person, people, person, resolve
from mana.stores import async_twin

achange_email = async_twin(change_email)
achange_password = async_twin(change_password)
achange_phone = async_twin(change_phone)
achange_username = async_twin(change_username)
aclaim = async_twin(claim)
adelete_account = async_twin(delete_account)
agrant = async_twin(grant)
adisable = async_twin(disable)
adisconnect = async_twin(disconnect)
aenable = async_twin(enable)
apermissions_of = async_twin(permissions_of)
aregister = async_twin(register)
aregister_guest = async_twin(register_guest)
aremove_device = async_twin(remove_device)
arevoke = async_twin(revoke)
arole_of = async_twin(role_of)
aset_avatar = async_twin(set_avatar)
aset_status = async_twin(set_status)
asign_in = async_twin(sign_in)
asign_out = async_twin(sign_out)
aupdate_profile = async_twin(update_profile)
averify_email = async_twin(verify_email)
averify_phone = async_twin(verify_phone)

__all__ = [
    "SIGN_IN_CLAIM",
    "Client",
    "Person",
    "Tokens",
    "account_key",
    "achange_email",
    "achange_password",
    "achange_phone",
    "achange_username",
    "aclaim",
    "adelete_account",
    "adisable",
    "adisconnect",
    "aenable",
    "agrant",
    "apermissions_of",
    "aregister",
    "aregister_guest",
    "aremove_device",
    "arevoke",
    "arole_of",
    "aset_avatar",
    "aset_status",
    "asign_in",
    "asign_out",
    "aupdate_profile",
    "averify_email",
    "averify_phone",
    "change_email",
    "change_password",
    "change_phone",
    "change_username",
    "check_password",
    "check_phone",
    "claim",
    "delete_account",
    "device",
    "devices",
    "disable",
    "disconnect",
    "enable",
    "end_sign_ins",
    "find_people",
    "grant",
    "guest_identity",
    "hides_people",
    "identity_from_token",
    "identity_of",
    "identity_person",
    "is_hidden",
    "is_verified",
    "make_ticket",
    "mark_verified",
    "note_connection",
    "people",
    "permissions_of",
    "person",
    "platform_of",
    "refresh",
    "register",
    "register_guest",
    "remove_avatar",
    "remove_device",
    "rename_device",
    "request_email_verification",
    "request_password_reset",
    "request_phone_verification",
    "reset_password",
    "resolve",
    "revoke",
    "revoke_sign_in",
    "role_of",
    "send_reset_mails",
    "send_verification_mail",
    "session_renamed",
    "session_sign_in",
    "set_avatar",
    "set_status",
    "sign_in",
    "sign_in_with_password",
    "sign_out",
    "update_profile",
    "verify_email",
    "verify_phone",
    "without_controls",
]
