"""Devices that Microsoft Intune manages: how they are read, and what we require of them."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import (
    Field,
    GapKind,
    Http,
    Personal,
    Record,
    Row,
    Unavailable,
    Verdict,
    check,
    days_between,
    fail,
    instant,
    ok,
    skip,
    source,
)

FIELDS = (
    "id,azureADDeviceId,serialNumber,complianceState,isEncrypted,jailBroken,lastSyncDateTime,enrolledDateTime,"
    "operatingSystem,osVersion,managedDeviceOwnerType,managementState,userId,userPrincipalName"
)
"""Asked for by name: telephone and card numbers of devices and names of people are never sent."""


@source(
    "entra.devices",
    key="id",
    per="connection",
    permissions=("DeviceManagementManagedDevices.Read.All",),
    personal=(Personal("entra:GET /v1.0/deviceManagement/*", "email", json="value[].userPrincipalName"),),
)
def devices(entra: Http) -> Iterator[Row]:
    """Every device enrolled in Intune; devices that are not enrolled are in no list."""
    yield from entra.pages(
        "/v1.0/deviceManagement/managedDevices",
        rows="value",
        pager=Field("@odata.nextLink"),
        **{"$select": FIELDS, "$top": 999},
    )


@check(
    "entra.devices.policies-met",
    title="Managed devices meet the compliance policies of the organisation",
    severity="high",
    each="entra.devices",
)
def policies_met(device: Record, *, accepted: tuple[str, ...] = ("compliant",)) -> Verdict:
    """Intune holds the device to be in one of the ``accepted`` states.

    Source: List managedDevices (``complianceState``). The organisation's own policies say what is looked at; a device
    without a policy may be counted among them. Remedy: bring the device in order, or retire it.
    """
    told = f"Intune says {device['complianceState']}, accepted {', '.join(accepted)}"
    return ok(told) if device["complianceState"] in accepted else fail(told)


@check("entra.devices.encrypted", title="Managed devices are encrypted", severity="high", each="entra.devices")
def encrypted(device: Record) -> Verdict:
    """The storage of the device is encrypted, as the device itself told Intune.

    Source: List managedDevices (``isEncrypted``, ``operatingSystem``).
    Remedy: enforce BitLocker, FileVault or the device's own encryption by policy.
    """
    told = f"{device['operatingSystem']} {device['osVersion']}"
    return ok(f"encrypted ({told})") if device["isEncrypted"] else fail(f"not encrypted ({told})")


@check(
    "entra.devices.in-contact",
    title="Managed devices report to the organisation",
    severity="medium",
    each="entra.devices",
)
def in_contact(device: Record, *, as_of: datetime, max_silent_days: int = 30) -> Verdict:
    """The device was in contact within ``max_silent_days`` before the collection.

    Source: List managedDevices (``lastSyncDateTime``). What Intune knows of a silent device is old.
    Remedy: find the device, or retire it and have it wiped.
    """
    silent = days_between(instant(device["lastSyncDateTime"]), as_of)
    told = f"last in contact {silent} days ago, limit {max_silent_days}"
    return ok(told) if silent <= max_silent_days else fail(told)


@check(
    "entra.devices.not-broken-open",
    title="No managed telephone or tablet is broken open",
    severity="high",
    each="entra.devices",
)
def not_broken_open(device: Record) -> Verdict:
    """A device with iOS or Android is not jailbroken or rooted.

    Source: List managedDevices (``jailBroken``, as text). Other systems do not tell.
    Remedy: block the device and have it set up anew.
    """
    if not device["operatingSystem"].startswith(("iOS", "iPadOS", "Android")):  # also AndroidEnterprise, AndroidForWork
        return skip(f"{device['operatingSystem']} does not tell")
    if device["jailBroken"] not in ("True", "False"):
        reason = f"the device does not tell whether it is broken open ({device['jailBroken']})"
        raise Unavailable(GapKind.UNPROVEN, reason)
    return fail("broken open") if device["jailBroken"] == "True" else ok("not broken open")


@check(
    "entra.devices.users-active",
    title="No managed device stays with an account that is off",
    severity="medium",
    over=("entra.devices", "entra.users"),
)
def users_active(devices: Iterator[Record], users: Iterator[Record]) -> Verdict:
    """No enrolled device belongs to a user who is disabled or deleted.

    Source: List managedDevices (``userId``), List users (``accountEnabled``). A device that is gone from the list was
    not necessarily handed back.
    Remedy: have the device returned, wiped and enrolled for its next user.
    """
    held = {device["id"]: (device["serialNumber"], device["userId"]) for device in devices if device["userId"]}
    if not held:
        return skip("no device belongs to a user")
    enabled = {user["id"] for user in users if user["accountEnabled"]}
    left = sorted(serial or id_ for id_, (serial, user) in held.items() if user not in enabled)
    if left:
        told = f"{len(left)} of {len(held)} devices belong to users who are disabled or gone"
        return fail(f"{told}: {', '.join(left[:20])}")
    return ok(f"all {len(held)} devices with a user belong to enabled users")
