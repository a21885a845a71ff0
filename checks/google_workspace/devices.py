"""Devices that Google Workspace manages: how they are read, and what we require of them."""

from collections.abc import Iterator
from datetime import UTC, datetime

from collector.api import (
    GapKind,
    Http,
    Personal,
    Record,
    Row,
    Token,
    Unavailable,
    Verdict,
    check,
    fail,
    ok,
    skip,
    source,
)

PAGER = Token("nextPageToken", "pageToken")
DEVICES = "google-workspace:GET /admin/directory/v1/customer/{customerId}/devices"
MOBILE = (
    "resourceId,deviceId,email,type,model,os,status,devicePasswordStatus,encryptionStatus,deviceCompromisedStatus,"
    "firstSync,lastSync"
)
CHROME = "deviceId,status,model,osVersion,bootMode,autoUpdateExpiration,lastSync,orgUnitPath,annotatedUser"


@source(
    "google-workspace.mobile-devices",
    key="resourceId",
    per="connection",
    permissions=("https://www.googleapis.com/auth/admin.directory.device.mobile.readonly",),
    personal=(Personal(f"{DEVICES}/mobile", "email", json="mobiledevices[].email"),),
)
def mobile_devices(google: Http) -> Iterator[Row]:
    """Every telephone and tablet that is known to the customer, without telephone and serial numbers."""
    yield from google.pages(
        "/admin/directory/v1/customer/{customerId}/devices/mobile",
        rows="mobiledevices", pager=PAGER, customerId="my_customer", maxResults=100, projection="FULL",
        fields=f"nextPageToken,mobiledevices({MOBILE})",
    )  # fmt: skip


@source(
    "google-workspace.chrome-devices",
    key="deviceId",
    per="connection",
    permissions=("https://www.googleapis.com/auth/admin.directory.device.chromeos.readonly",),
    personal=(Personal(f"{DEVICES}/chromeos", "email", json="chromeosdevices[].annotatedUser"),),
)
def chrome_devices(google: Http) -> Iterator[Row]:
    """Every device with ChromeOS that is or was enrolled, without networks and recent users."""
    yield from google.pages(
        "/admin/directory/v1/customer/{customerId}/devices/chromeos",
        rows="chromeosdevices", pager=PAGER, customerId="my_customer", maxResults=200, projection="FULL",
        fields=f"nextPageToken,chromeosdevices({CHROME})",
    )  # fmt: skip


@check(
    "google-workspace.mobile-devices.protected",
    title="Mobile devices with Google Workspace are locked, encrypted and sound",
    severity="high",
    each="google-workspace.mobile-devices",
)
def protected(device: Record) -> Verdict:
    """An approved device has a screen lock, is encrypted, and shows no sign that it was tampered with.

    Source: mobiledevices.list (``status``, ``devicePasswordStatus``, ``encryptionStatus``,
    ``deviceCompromisedStatus``; a device under basic management does not tell all of them).
    Remedy: *Devices, Mobile and endpoints, Universal settings*: ask for a lock and encryption, block tampered devices.
    """
    if device["status"].upper() != "APPROVED":
        return skip(f"the status of the device is {device['status']}")
    wanted = {
        "devicePasswordStatus": "on",
        "encryptionStatus": "encrypted",
        "deviceCompromisedStatus": "no compromise detected",
    }  # fmt: skip
    if silent := [name for name in wanted if not device.get(name)]:
        raise Unavailable(GapKind.UNSUPPORTED, f"the device does not tell {', '.join(silent)}")
    bad = [f"{name} is {device[name]}" for name, right in wanted.items() if device[name].lower() != right]
    return fail(", ".join(bad)) if bad else ok("locked, encrypted, no compromise detected")


@check(
    "google-workspace.chrome-devices.supported",
    title="ChromeOS devices still get updates",
    severity="high",
    each="google-workspace.chrome-devices",
)
def supported(device: Record, *, as_of: datetime) -> Verdict:
    """An enrolled device gets updates on the day of collection.

    Source: chromeosdevices.list (``status``, ``autoUpdateExpiration``, milliseconds since 1970; left out where the
    model is not known).
    Remedy: replace the device.
    """
    if device["status"] != "ACTIVE":
        return skip(f"the status of the device is {device['status']}")
    if not device.get("autoUpdateExpiration"):
        raise Unavailable(GapKind.UNSUPPORTED, "the device does not tell until when it gets updates")
    until = datetime.fromtimestamp(int(device["autoUpdateExpiration"]) / 1000, UTC)
    told = f"updates until {until:%Y-%m-%d}"
    return ok(told) if as_of <= until else fail(told)


@check(
    "google-workspace.chrome-devices.verified-boot",
    title="ChromeOS devices run the system of the vendor",
    severity="medium",
    each="google-workspace.chrome-devices",
)
def verified_boot(device: Record) -> Verdict:
    """An enrolled device was started in verified mode.

    Source: chromeosdevices.list (``status``, ``bootMode``; left out where reporting is off).
    Remedy: forbid developer mode under *Devices, Chrome, Settings, Device, Verified access*.
    """
    if device["status"] != "ACTIVE":
        return skip(f"the status of the device is {device['status']}")
    if not device.get("bootMode"):
        raise Unavailable(GapKind.UNSUPPORTED, "the device does not tell its boot mode")
    told = f"the boot mode is {device['bootMode']}"
    return ok(told) if device["bootMode"] == "Verified" else fail(told)
