"""Settings of the running kernel that make attacks harder."""

from collections.abc import Iterator

from collector.api import Host, Record, Row, Verdict, check, fail, ok, skip, source

HARDENED = {
    "fs.protected_hardlinks": ("1",),
    "fs.protected_symlinks": ("1",),
    "fs.suid_dumpable": ("0", "2"),
    "kernel.dmesg_restrict": ("1",),
    "kernel.kptr_restrict": ("1", "2"),
    "kernel.randomize_va_space": ("2",),
    "kernel.unprivileged_bpf_disabled": ("1", "2"),
    "kernel.yama.ptrace_scope": ("1", "2", "3"),
    "net.ipv4.conf.all.accept_redirects": ("0",),
    "net.ipv4.conf.all.accept_source_route": ("0",),
    "net.ipv4.conf.all.rp_filter": ("1", "2"),
    "net.ipv4.conf.all.send_redirects": ("0",),
    "net.ipv4.conf.default.accept_redirects": ("0",),
    "net.ipv4.conf.default.accept_source_route": ("0",),
    "net.ipv4.icmp_echo_ignore_broadcasts": ("1",),
    "net.ipv4.tcp_syncookies": ("1", "2"),
    "net.ipv6.conf.all.accept_redirects": ("0",),
    "net.ipv6.conf.all.accept_source_route": ("0", "-1"),
}
"""Setting and the values that conform; the meaning of each is in the kernel's own documentation of sysctl."""


@source("host.kernel-settings", key="Setting", per="connection", permissions=("host:read /proc/sys/**",))
def settings(host: Host) -> Iterator[Row]:
    """The settings of the running kernel that a check asks for; ``Value`` is null where this kernel has none."""
    for name in HARDENED:
        yield {"Setting": name, "Value": host.attempt_read("/proc/sys/" + name.replace(".", "/"), absent_ok=True)}


@check(
    "host.kernel.hardened",
    title="The kernel is hardened",
    severity="medium",
    each="host.kernel-settings",
)
def hardened(setting: Record, *, exempt: tuple[str, ...] = ()) -> Verdict:
    """The setting has one of its conforming values now. What is set for single network interfaces is not read.

    Source: /proc/sys. A setting that the kernel does not have, or one that is ``exempt``, is skipped.
    Remedy: a line ``setting = value`` in /etc/sysctl.d, then ``sysctl --system``.
    """
    name = setting["Setting"]
    if name in exempt:
        return skip(f"{name} is exempt")
    if setting["Value"] is None:
        return skip(f"this kernel has no {name}")
    value, limit = setting["Value"].strip(), " or ".join(HARDENED[name])
    return ok(f"{name} is {value}") if value in HARDENED[name] else fail(f"{name} is {value}; the limit is {limit}")
