"""What the commands about the seal do: its keys, attestations from outside, and a witness for others."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.commands.opening import configured
from collector.console import say
from collector.errors import ConfigError
from collector.secrets import SecretRef

if TYPE_CHECKING:
    from evidence_store.keychain import KeyChain
    from evidence_store.keys import PublicKey

Arguments = argparse.Namespace
LEAST_PASSPHRASE = 8
"""Characters below which a person is warned; scrypt makes each guess slow, not impossible."""


def key_new(arguments: Arguments) -> int:
    """A new key in a file; its fingerprint is printed."""
    from evidence_store.keys import create_key_file

    passphrase = SecretRef.parse(arguments.secret).resolve(Path()).reveal()
    if len(passphrase) < LEAST_PASSPHRASE:
        say(
            f"warning: the passphrase has {len(passphrase)} characters; whoever copies the key file can guess it: use "
            f"{LEAST_PASSPHRASE} or more, best a random one"
        )
    print(f"key fingerprint {create_key_file(arguments.file, passphrase.encode())}")
    say(f"wrote {arguments.file}; keep a copy of it and of its passphrase, each in another place")
    return 0


def key_show(arguments: Arguments) -> int:
    """The key that signs and, where there is a store, the keys it was signed with."""
    from collector.signing import signer
    from evidence_store.store import Store

    config = configured(arguments.config)
    public, origin = signer(config).public, config.store.origin
    chain = None
    if (config.store.path / "STORE.json").exists():
        with Store.open(config.store.path) as store:
            chain, origin = store.key_chain, store.origin
    document = {
        "schema": "affidavit.key/1",
        "signer": _described(public, origin),
        "store": _links(chain) if chain else None,
    }
    if arguments.json:
        print(json.dumps(document))
        return 0
    for name, value in _described(public, origin).items():
        print(f"{name:<12}{value}" if name != "pem" else value, end="\n" if name != "pem" else "")
    for link in _links(chain) if chain else ():
        words = f"signs from leaf {link['fromIndex']}"
        if "retiredBy" in link:
            words += f", retired by leaf {link['retiredBy']}"
        if "revokedBy" in link:
            words += f", revoked by leaf {link['revokedBy']}: good up to leaf {link['lastGoodIndex']}"
        print(f"{link['fingerprint']}  {words}")
    if chain and chain.current.fingerprint != public.fingerprint:
        say("the configuration names another key than the one that signs the store")
    return 0


def key_rotate(arguments: Arguments) -> int:
    """The store is signed by another key from now on."""
    from collector.signing import bucket, opened, signer
    from evidence_store.store import Store

    config = configured(arguments.config)
    secret = SecretRef.parse(arguments.secret) if arguments.secret else None
    new = opened(arguments.new, secret, Path())
    with Store.open(config.store.path, signer=signer(config), remote=bucket(config)) as store:
        index = store.rotate(new, arguments.reason)
        print(f"leaf {index} of {store.origin} hands over to {new.keyid}")
    name = f"key.uri: {arguments.new}" if ":" in arguments.new else f"key.file: {arguments.new}"
    print(f"next: write {name} and its secret into {arguments.config}: the old key no longer opens the store")
    print("next: give your auditor the new fingerprint, by the way you gave the old one; the old one stays valid")
    print("next: have the head stamped and witnessed now, by a run or 'affidavit timestamp renew'")
    return 0


def key_revoke(arguments: Arguments) -> int:
    """A retired key's signatures no longer count after a leaf."""
    from collector.signing import bucket, signer
    from evidence_store.store import Store

    config = configured(arguments.config)
    with Store.open(config.store.path, signer=signer(config), remote=bucket(config)) as store:
        index = store.revoke(arguments.fingerprint, arguments.last_good_index, arguments.reason)
        print(f"leaf {index} of {store.origin} revokes {arguments.fingerprint} after leaf {arguments.last_good_index}")
    print("next: affidavit verify with --key and --tsa-roots says which leaves no longer count; tell your auditor")
    return 0


def timestamp_renew(arguments: Arguments) -> int:
    """The newest checkpoint is attested now, by everybody the configuration names."""
    from collector import sealing
    from collector.signing import bucket, signer
    from evidence_store.store import Store

    config = configured(arguments.config)
    who = sealing.outside(config)
    if not (who.authorities or who.cosigners or who.places):
        raise ConfigError(
            f"{arguments.config} names nobody who attests", "add timestamps.authorities or anchors; see docs/anchors.md"
        )
    with Store.open(config.store.path, signer=signer(config), remote=bucket(config)) as store:
        store.anchor()  # what an interrupted run kept is named first, so that the new stamps cover it
        size = store.size
        found = sealing.closed(store, who)
    unattested = [failure.what for failure in (*found.forks, *found.failures)]
    if arguments.json:
        print(json.dumps({"schema": "affidavit.renewal/1", "checkpointSize": size, "unattested": unattested}))
    else:
        asked = len(who.authorities) + len(who.cosigners) + len(who.places)
        print(f"checkpoint {size} of {config.store.origin}: {asked - len(unattested)} of {asked} attest it")
    found.tell()
    return found.forks[0].exit_code if found.forks else 3 if found.failures else 0


def witness(arguments: Arguments) -> int:
    """Sign the heads of other people's logs until SIGTERM."""
    import signal
    import threading

    from collector.address import Address
    from evidence_store.cosignature import Witness
    from evidence_store.heads import NAME
    from evidence_store.keys import load_key_file
    from evidence_store.witness import WitnessServer, parse_logs

    try:
        address = Address.parse(arguments.listen)
        if address.host in ("0.0.0.0", "::"):  # noqa: S104 - refused
            raise ValueError("every address of this machine: name the one that logs reach")
    except ValueError as error:
        raise ConfigError(f"--listen {arguments.listen}: {error}", "write for example 127.0.0.1:9465") from error
    if not NAME.fullmatch(arguments.name):
        raise ConfigError(f"{arguments.name!r} cannot name a witness", "use visible ASCII, no space, no plus")
    logs = parse_logs(arguments.log)
    signer = load_key_file(arguments.key, SecretRef.parse(arguments.secret).resolve(Path()).reveal().encode())
    me = Witness(arguments.name, signer.public)
    server = WitnessServer(arguments.state, me, signer, logs, create=arguments.init)
    try:
        http = server.listen(address.host, address.port)
    except OSError as error:
        server.close()
        raise ConfigError(f"cannot listen on {address}: {error.strerror}", "choose another with --listen") from error
    print(f"witness key {me.verifier_key()}", flush=True)
    say(f"listening on http://{Address(address.host, http.server_port)} for {', '.join(sorted(logs))}")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=http.shutdown).start())
    try:
        http.serve_forever(0.2)
    finally:
        http.server_close()
        server.close()
    return 0


def _described(public: PublicKey, origin: str) -> dict[str, str]:
    from evidence_store.note import verifier_key

    return {
        "fingerprint": public.fingerprint,
        "scheme": public.scheme,
        "verifier": verifier_key(origin, public),
        "pem": public.pem(),
    }


def _links(chain: KeyChain) -> list[dict[str, Any]]:
    links: list[dict[str, Any]] = []
    for key, start in zip(chain.keys, chain.starts, strict=True):
        link: dict[str, Any] = {"fingerprint": key.fingerprint, "scheme": key.scheme, "fromIndex": start}
        if (ended := chain.retired_by(key.fingerprint)) is not None:
            link["retiredBy"] = ended
        if revoked := chain.revocations.get(key.fingerprint):
            link |= {"revokedBy": revoked.index, "lastGoodIndex": revoked.last_good}
        links.append(link)
    return links
