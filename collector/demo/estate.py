"""Seeds the demo's AWS account: about 150 resources in two regions, with known faults and known virtues.

What is expected of each resource is written down here, where it is made, from what was asked of the API; the checks
are not consulted.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

HOME, AWAY = "eu-central-1", "eu-west-1"
REGIONS = (HOME, AWAY)
ACCOUNT = "123456789012"
ROOT_LINE = (
    f"<root_account>,arn:aws:iam::{ACCOUNT}:root,2023-01-10T08:00:00+00:00,not_supported,2024-03-01T09:00:00+00:00,not_supported,not_supported,"
    "false,false,N/A,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A,false,N/A,false,N/A"
)
"""The root user in the credential report: long not used, and without MFA."""
PARTNER = "210987654321"
"""An account this estate trusts knowingly."""
STRANGER = "999988887777"

Client = Callable[[str, str], Any]


@dataclass(slots=True)
class Seeded:
    """What was made, and what a truthful collector must say of it."""

    resources: int = 0
    expected: list[dict[str, str]] = field(default_factory=list)

    def made(self, count: int = 1) -> None:
        """Count resources."""
        self.resources += count

    def expect(self, resource: str, good: str = "", bad: str = "", skip: str = "", *, kind: str = "aws") -> None:
        """Expect PASS, FAIL and SKIP of ``resource`` from the checks named (without ``kind``)."""
        for outcome, checks in (("PASS", good), ("FAIL", bad), ("SKIP", skip)):
            self.expected += [
                {"check": f"{kind}.{name}", "resource": resource, "outcome": outcome} for name in checks.split()
            ]


def seed(client: Client) -> Seeded:
    """Make the estate through the public API of an emulator."""
    seeded = Seeded()
    for part in (
        _identity,
        _federation,
        _buckets,
        _network,
        _machines,
        _storage,
        _keys,
        _databases,
        _logs,
        _functions,
        _balancers,
        _secrets,
        _images,
        _clusters,
        _trails,
        _backups,
    ):
        part(client, seeded)
    return seeded


def _document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def _allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def _trust(principal: dict[str, Any], **more: Any) -> str:
    return _document({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more})


# ------------------------------------------------------------------------------------------------------ identity

USERS: tuple[tuple[str, bool, bool, int | None, int | None, int | None], ...] = (
    # name, console, MFA, days since the password was used, days since the key was made, days since the key was used
    ("anna", True, True, 2, None, None),
    ("bela", True, True, 9, 20, 1),
    ("carla", True, False, 5, None, None),
    ("dora", True, True, 200, None, None),
    ("emil", False, False, None, 400, 3),
    ("fritz", False, False, None, 30, 120),
    ("gerda", True, True, 1, 89, 0),
    ("hugo", True, False, 150, None, None),
    ("ines", True, True, 3, None, None),
    ("jan", True, True, 12, 60, 2),
    ("build-bot", False, False, None, 45, 0),
    ("backup-bot", False, False, None, 200, 200),
)
LEAVER = "jan"
"""Left, as the registers of the demo say, and still has a password and an access key."""


def ages() -> Iterator[tuple[str, int | None, int | None, int | None]]:
    """User, and the days since password use, key creation and key use: what the API cannot back-date."""
    yield from ((name, password, made, used) for name, _, _, password, made, used in USERS)


def _identity(client: Client, seeded: Seeded) -> None:
    iam = client("iam", HOME)
    iam.update_account_password_policy(
        MinimumPasswordLength=10,
        RequireSymbols=True,
        RequireNumbers=True,
        RequireUppercaseCharacters=True,
        RequireLowercaseCharacters=True,
        PasswordReusePrevention=24,
    )
    seeded.made()
    seeded.expect(
        "password-policy",
        good="iam.password-policy-reuse iam.password-policy-complexity",
        bad="iam.password-policy-length",
    )
    for group in ("engineers", "operations"):
        iam.create_group(GroupName=group)
    seeded.made(2)
    _policies(iam, seeded)
    for name, console, mfa, password, made, used in USERS:
        _user(iam, seeded, name, console, mfa, password, made, used)
    iam.attach_user_policy(UserName="emil", PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/read-invoices")
    seeded.expect("emil", bad="iam.no-direct-user-policies")
    seeded.expect("anna", good="iam.no-direct-user-policies")
    _roles(iam, seeded)


def _user(
    iam: Any,
    seeded: Seeded,
    name: str,
    console: bool,
    mfa: bool,
    password: int | None,
    made: int | None,
    used: int | None,
) -> None:
    iam.create_user(UserName=name)
    iam.add_user_to_group(GroupName="engineers", UserName=name)
    seeded.made()
    if console:
        iam.create_login_profile(UserName=name, Password="Demo-passw0rd!", PasswordResetRequired=False)
        seeded.expect(name, **{"good" if mfa else "bad": "iam.console-user-mfa"})
        seeded.expect(
            name, **{"good" if password is not None and password <= 90 else "bad": "iam.console-password-in-use"}
        )
    else:
        seeded.expect(name, skip="iam.console-user-mfa iam.console-password-in-use")
    if mfa:
        device = iam.create_virtual_mfa_device(VirtualMFADeviceName=f"mfa-{name}")["VirtualMFADevice"]["SerialNumber"]
        iam.enable_mfa_device(
            UserName=name, SerialNumber=device, AuthenticationCode1="234567", AuthenticationCode2="987654"
        )
    if made is not None and used is not None:
        key = iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]
        seeded.made()
        seeded.expect(key, **{"good" if made <= 90 else "bad": "iam.access-key-rotated"})
        seeded.expect(key, **{"good" if used <= 90 else "bad": "iam.access-key-in-use"})
        if name == LEAVER:
            seeded.expect(key, kind="joins.aws", bad="leavers-keys")


def _policies(iam: Any, seeded: Seeded) -> None:
    for name, statement, good, bad in (
        ("do-everything", _allow("*"), "", "iam.no-admin-policies"),
        ("read-invoices", _allow(["s3:GetObject", "s3:ListBucket"], ["arn:aws:s3:::invoices", "arn:aws:s3:::invoices/*"]), "iam.no-admin-policies iam.no-escalation-policies", ""),
        ("pass-any-role", _allow(["iam:PassRole", "lambda:CreateFunction", "lambda:InvokeFunction"]), "iam.no-admin-policies", "iam.no-escalation-policies"),
        ("write-logs", _allow(["logs:CreateLogStream", "logs:PutLogEvents"]), "iam.no-admin-policies iam.no-escalation-policies", ""),
    ):  # fmt: skip
        made = iam.create_policy(PolicyName=name, PolicyDocument=_document(statement))
        seeded.made()
        seeded.expect(made["Policy"]["Arn"], good=good, bad=bad)


def _roles(iam: Any, seeded: Seeded) -> None:
    external = {"Condition": {"StringEquals": {"sts:ExternalId": "7f0c1d"}}}
    for name, trust, good, bad in (
        ("web-server", _trust({"Service": "ec2.amazonaws.com"}), "iam.role-trust-not-public", ""),
        ("invoice-worker", _trust({"Service": "lambda.amazonaws.com"}), "iam.role-trust-not-public", ""),
        ("partner-audit", _trust({"AWS": f"arn:aws:iam::{PARTNER}:root"}, **external), "iam.role-trust-not-public iam.role-trust-known-accounts iam.role-trust-external-id", ""),
        ("old-consultant", _trust({"AWS": f"arn:aws:iam::{STRANGER}:root"}), "iam.role-trust-not-public", "iam.role-trust-known-accounts iam.role-trust-external-id"),
        ("anyone", _trust({"AWS": "*"}), "", "iam.role-trust-not-public"),
    ):  # fmt: skip
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
        seeded.made()
        seeded.expect(name, good=good, bad=bad)


TENANT = "8f14e45f-ceea-4e67-9a2b-1c0de5a1b2c3"
"""An Entra tenant that signs people in to this account, and that nobody collects."""


def metadata(entity: str) -> str:
    """What a SAML provider says of itself, with a key that is invented."""
    key = f"<ds:X509Certificate>{'MIIC' * 250}</ds:X509Certificate>"
    signs = f'<md:KeyDescriptor use="signing"><ds:KeyInfo><ds:X509Data>{key}</ds:X509Data></ds:KeyInfo></md:KeyDescriptor>'
    return (
        '<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" '
        f'xmlns:ds="http://www.w3.org/2000/09/xmldsig#" entityID="{entity}"><md:IDPSSODescriptor '
        f'protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">{signs}</md:IDPSSODescriptor>'
        "</md:EntityDescriptor>"
    )


def _federation(client: Client, seeded: Seeded) -> None:
    iam = client("iam", HOME)
    for name, entity in (("staff", "https://sso.example.org/realms/acme"), ("office", f"https://sts.windows.net/{TENANT}/")):
        made = iam.create_saml_provider(SAMLMetadataDocument=metadata(entity), Name=name)
        seeded.made()
        seeded.expect(made["SAMLProviderArn"], bad="iam.identity-providers-collected")
    robots = iam.create_open_id_connect_provider(
        Url="https://token.actions.githubusercontent.com", ClientIDList=["sts.amazonaws.com"], ThumbprintList=["0" * 40]
    )
    seeded.made()
    seeded.expect(robots["OpenIDConnectProviderArn"], skip="iam.identity-providers-collected")


# ------------------------------------------------------------------------------------------------------- storage


def _buckets(client: Client, seeded: Seeded) -> None:
    block = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    for name in (
        "invoices",
        "payroll",
        "contracts",
        "audit-logs",
        "backups",
        "exports",
        "artifacts",
        "reports",
        "tickets",
        "images",
        "models",
        "legal",
        "payslips",
        "snapshots",
        "telemetry",
        "vendors",
    ):
        _bucket(client("s3", HOME), HOME, name)
        s3 = client("s3", HOME)
        s3.put_bucket_encryption(
            Bucket=name,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]
            },
        )
        s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=block)
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        only_tls = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
        s3.put_bucket_policy(Bucket=name, Policy=_document(only_tls))
        seeded.made()
        seeded.expect(
            name,
            good="s3.default-encryption s3.public-access-blocked s3.versioning s3.tls-required s3.policy-not-public s3.acl-not-public",
        )
    for name in ("drop-box", "marketing", "old-site"):
        s3 = client("s3", AWAY)
        _bucket(s3, AWAY, name)
        seeded.made()
        seeded.expect(
            name, bad="s3.public-access-blocked s3.versioning s3.tls-required s3.access-logging s3.default-encryption"
        )
    s3 = client("s3", AWAY)
    s3.put_bucket_policy(
        Bucket="marketing", Policy=_document(_allow("s3:GetObject", "arn:aws:s3:::marketing/*", Principal="*"))
    )
    seeded.expect("marketing", bad="s3.policy-not-public", good="s3.acl-not-public")
    s3.put_bucket_acl(Bucket="old-site", ACL="public-read")
    seeded.expect("old-site", bad="s3.acl-not-public", good="s3.policy-not-public")
    seeded.expect("drop-box", good="s3.acl-not-public s3.policy-not-public")


def _bucket(s3: Any, region: str, name: str) -> None:
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})


# ------------------------------------------------------------------------------------------------------- network

RULES = (
    # group, protocol, from, to, cidr, checks that fail
    ("ssh-from-anywhere", "tcp", 22, 22, "0.0.0.0/0", "ec2.ssh-not-public"),
    ("rdp-from-anywhere", "tcp", 3389, 3389, "0.0.0.0/0", "ec2.rdp-not-public"),
    ("database-from-anywhere", "tcp", 5432, 5432, "0.0.0.0/0", "ec2.databases-not-public"),
    (
        "everything-from-anywhere",
        "-1",
        -1,
        -1,
        "0.0.0.0/0",
        "ec2.ssh-not-public ec2.rdp-not-public ec2.databases-not-public ec2.all-ports-not-public",
    ),
    ("web", "tcp", 443, 443, "0.0.0.0/0", ""),
    ("database", "tcp", 5432, 5432, "10.0.0.0/8", ""),
    ("bastion", "tcp", 22, 22, "203.0.113.0/24", ""),
)
RULE_CHECKS = frozenset(
    ["ec2.ssh-not-public", "ec2.rdp-not-public", "ec2.databases-not-public", "ec2.all-ports-not-public"]
)


def _network(client: Client, seeded: Seeded) -> None:
    for number, region in enumerate(REGIONS):
        ec2 = client("ec2", region)
        watched = ec2.create_vpc(CidrBlock=f"10.{number}.0.0/16")["Vpc"]["VpcId"]
        unwatched = ec2.create_vpc(CidrBlock=f"10.{number + 50}.0.0/16")["Vpc"]["VpcId"]
        client("logs", region).create_log_group(logGroupName="vpc-flow")
        client("logs", region).put_retention_policy(logGroupName="vpc-flow", retentionInDays=400)
        ec2.create_flow_logs(
            ResourceIds=[watched],
            ResourceType="VPC",
            TrafficType="ALL",
            LogGroupName="vpc-flow",
            DeliverLogsPermissionArn=f"arn:aws:iam::{ACCOUNT}:role/web-server",
        )
        seeded.made(4)
        seeded.expect(watched, good="ec2.vpc-flow-logs")
        seeded.expect(unwatched, bad="ec2.vpc-flow-logs")
        for name, protocol, low, high, cidr, bad in RULES:
            group = ec2.create_security_group(GroupName=name, Description=name, VpcId=watched)["GroupId"]
            ports = {} if protocol == "-1" else {"FromPort": low, "ToPort": high}
            ec2.authorize_security_group_ingress(
                GroupId=group, IpPermissions=[{"IpProtocol": protocol, **ports, "IpRanges": [{"CidrIp": cidr}]}]
            )
            seeded.made()
            seeded.expect(group, bad=bad, good=" ".join(sorted(RULE_CHECKS - set(bad.split()))))


def _machines(client: Client, seeded: Seeded) -> None:
    for region, count in ((HOME, 6), (AWAY, 4)):
        ec2 = client("ec2", region)
        image = ec2.register_image(
            Name="base", RootDeviceName="/dev/sda1", Architecture="x86_64", VirtualizationType="hvm"
        )["ImageId"]
        seeded.made()
        seeded.expect(image, good="ec2.image-not-public")
        vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["false"]}])["Vpcs"][0]
        subnet = ec2.create_subnet(VpcId=vpc["VpcId"], CidrBlock=vpc["CidrBlock"].replace("/16", "/24"))["Subnet"][
            "SubnetId"
        ]
        for number in range(count):
            tokens = "required" if number % 3 else "optional"
            made = ec2.run_instances(
                ImageId=image,
                MinCount=1,
                MaxCount=1,
                InstanceType="t3.micro",
                SubnetId=subnet,
                MetadataOptions={"HttpTokens": tokens, "HttpEndpoint": "enabled"},
            )
            seeded.made()
            seeded.expect(
                made["Instances"][0]["InstanceId"], **{"good" if number % 3 else "bad": "ec2.imdsv2-required"}
            )
    ec2 = client("ec2", AWAY)
    shared = ec2.register_image(
        Name="shared-by-mistake", RootDeviceName="/dev/sda1", Architecture="x86_64", VirtualizationType="hvm"
    )["ImageId"]
    ec2.modify_image_attribute(ImageId=shared, LaunchPermission={"Add": [{"Group": "all"}]})
    seeded.made()
    seeded.expect(shared, bad="ec2.image-not-public")


def _storage(client: Client, seeded: Seeded) -> None:
    client("ec2", HOME).enable_ebs_encryption_by_default()
    seeded.expect("ebs-encryption-default", good="ec2.ebs-default-encryption")
    seeded.expect("ebs-encryption-default", bad="ec2.ebs-default-encryption")
    for region in REGIONS:
        ec2 = client("ec2", region)
        for number in range(9):
            encrypted = number != 3
            volume = ec2.create_volume(AvailabilityZone=f"{region}a", Size=8, Encrypted=encrypted)["VolumeId"]
            seeded.made()
            if region == AWAY or encrypted:
                seeded.expect(volume, **{"good" if encrypted else "bad": "ec2.volume-encrypted"})
            if number in (0, 3):
                snapshot = ec2.create_snapshot(VolumeId=volume, Description="demo")["SnapshotId"]
                public = region == AWAY and number == 3
                if public:
                    ec2.modify_snapshot_attribute(
                        SnapshotId=snapshot, Attribute="createVolumePermission", OperationType="add", GroupNames=["all"]
                    )
                seeded.made()
                seeded.expect(snapshot, **{"bad" if public else "good": "ec2.snapshot-not-public"})


# ------------------------------------------------------------------------------------------------------ services


def _keys(client: Client, seeded: Seeded) -> None:
    for region, rotated in ((HOME, True), (HOME, True), (HOME, False), (AWAY, True), (AWAY, False)):
        kms = client("kms", region)
        key = kms.create_key(Description="demo")["KeyMetadata"]["KeyId"]
        if rotated:
            kms.enable_key_rotation(KeyId=key)
        seeded.made()
        seeded.expect(key, **{"good" if rotated else "bad": "kms.rotation"})
        seeded.expect(key, good="kms.policy-not-public kms.not-pending-deletion")
    kms = client("kms", AWAY)
    loose = kms.create_key(Description="open")["KeyMetadata"]["KeyId"]
    kms.put_key_policy(KeyId=loose, PolicyName="default", Policy=_document(_allow("kms:*", Principal="*")))
    leaving = kms.create_key(Description="leaving")["KeyMetadata"]["KeyId"]
    kms.schedule_key_deletion(KeyId=leaving, PendingWindowInDays=7)
    seeded.made(2)
    seeded.expect(loose, bad="kms.policy-not-public")
    seeded.expect(leaving, bad="kms.not-pending-deletion")


def _databases(client: Client, seeded: Seeded) -> None:
    for region, name, good in ((HOME, "orders", True), (HOME, "people", True), (AWAY, "wiki", False)):
        client("rds", region).create_db_instance(
            DBInstanceIdentifier=name, AllocatedStorage=20, DBInstanceClass="db.t3.micro", Engine="postgres", MasterUsername="adm", MasterUserPassword="demo-password-1",
            StorageEncrypted=good, PubliclyAccessible=not good, MultiAZ=good, BackupRetentionPeriod=14 if good else 0, DeletionProtection=good, AutoMinorVersionUpgrade=good,
        )  # fmt: skip
        seeded.made()
        checks = "rds.storage-encrypted rds.not-public rds.backup-retention rds.multi-az rds.deletion-protection rds.minor-upgrades"
        seeded.expect(name, **{"good" if good else "bad": checks})


def _logs(client: Client, seeded: Seeded) -> None:
    for region in REGIONS:
        logs = client("logs", region)
        for name, days in (("/app/web", 365), ("/app/worker", 400), ("/app/debug", 7), ("/app/forever", None), ("/app/jobs", 731)):
            logs.create_log_group(logGroupName=name)
            if days:
                logs.put_retention_policy(logGroupName=name, retentionInDays=days)
            seeded.made()
            seeded.expect(name, **{"bad" if days == 7 else "good": "logs.retention"})


def _functions(client: Client, seeded: Seeded) -> None:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("handler.py", "def handle(event, context):\n    return 1\n")
    for region, name, runtime, variables in (
        (HOME, "resize", "python3.13", {"LEVEL": "info"}),
        (HOME, "notify", "python3.13", {"LEVEL": "info"}),
        (HOME, "legacy-import", "python3.8", {"LEVEL": "info"}),
        (AWAY, "sync", "nodejs22.x", {"DB_PASSWORD": "correct-horse-battery-staple"}),
    ):
        client("lambda", region).create_function(
            FunctionName=name,
            Runtime=runtime,
            Role=f"arn:aws:iam::{ACCOUNT}:role/invoice-worker",
            Handler="handler.handle",
            Code={"ZipFile": package.getvalue()},
            Environment={"Variables": variables},
        )
        seeded.made()
        seeded.expect(name, **{"bad" if runtime == "python3.8" else "good": "lambda.runtime-supported"})
        seeded.expect(name, **{"bad" if "DB_PASSWORD" in variables else "good": "lambda.no-secret-named-variables"})
    client("lambda", AWAY).add_permission(
        FunctionName="sync", StatementId="open", Action="lambda:InvokeFunction", Principal="*"
    )
    seeded.expect("sync", bad="lambda.policy-not-public")
    seeded.expect("resize", good="lambda.policy-not-public")


SECRET_VALUE = "correct-horse-battery-staple"  # noqa: S105
"""Stands in a function's environment; it must appear in no file the collector writes."""


def _balancers(client: Client, seeded: Seeded) -> None:
    elb, ec2 = client("elbv2", HOME), client("ec2", HOME)
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    subnets = [
        subnet["SubnetId"] for subnet in ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    ][:2]
    certificate = client("acm", HOME).request_certificate(DomainName="www.example.org", ValidationMethod="DNS")[
        "CertificateArn"
    ]
    seeded.made()
    for name, protocol in (("shop", "HTTPS"), ("intranet", "HTTP")):
        balancer = elb.create_load_balancer(Name=name, Subnets=subnets, Type="application")["LoadBalancers"][0][
            "LoadBalancerArn"
        ]
        logs = [{"Key": "access_logs.s3.enabled", "Value": "true" if protocol == "HTTPS" else "false"}]
        elb.modify_load_balancer_attributes(LoadBalancerArn=balancer, Attributes=logs)
        target = elb.create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=vpc)["TargetGroups"][0][
            "TargetGroupArn"
        ]
        tls: dict[str, Any] = (
            {"Certificates": [{"CertificateArn": certificate}], "SslPolicy": "ELBSecurityPolicy-TLS13-1-2-2021-06"}
            if protocol == "HTTPS"
            else {}
        )
        elb.create_listener(
            LoadBalancerArn=balancer,
            Protocol=protocol,
            Port=443 if tls else 80,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": target}],
            **tls,
        )
        seeded.made()
        seeded.expect(name, **{"good" if tls else "bad": "elbv2.tls-listeners elbv2.access-logs"})


def _secrets(client: Client, seeded: Seeded) -> None:
    for region, name in ((HOME, "orders/db"), (HOME, "people/db"), (AWAY, "wiki/db")):
        client("secretsmanager", region).create_secret(Name=name, SecretString="not-for-evidence")
        seeded.made()
        seeded.expect(name, bad="secretsmanager.rotation-on")


def _images(client: Client, seeded: Seeded) -> None:
    filters = [{"filter": name, "filterType": "WILDCARD"} for name in ("web", "worker")]
    rules = [{"scanFrequency": "SCAN_ON_PUSH", "repositoryFilters": filters}]
    for region, name, good in ((HOME, "web", True), (HOME, "worker", True), (AWAY, "scratch", False)):
        client("ecr", region).create_repository(
            repositoryName=name,
            imageScanningConfiguration={"scanOnPush": good},
            imageTagMutability="IMMUTABLE" if good else "MUTABLE",
        )
        seeded.made()
        seeded.expect(name, **{"good" if good else "bad": "ecr.scan-on-push ecr.tags-immutable"})
    client("ecr", HOME).put_registry_scanning_configuration(scanType="BASIC", rules=rules)


def _clusters(client: Client, seeded: Seeded) -> None:
    for region, name, good in ((HOME, "shop", True), (AWAY, "wiki", False)):
        client("eks", region).create_cluster(
            name=name,
            roleArn=f"arn:aws:iam::{ACCOUNT}:role/web-server",
            resourcesVpcConfig={
                "endpointPublicAccess": True,
                "endpointPrivateAccess": True,
                "publicAccessCidrs": ["203.0.113.0/24" if good else "0.0.0.0/0"],
            },
            logging={"clusterLogging": [{"types": ["audit", "authenticator"], "enabled": good}]},
            encryptionConfig=[
                {"resources": ["secrets"], "provider": {"keyArn": f"arn:aws:kms:{region}:{ACCOUNT}:key/eks"}}
            ][:good],
        )
        seeded.made()
        checks = "eks.endpoint-not-public eks.control-plane-logging eks.secrets-encrypted"
        seeded.expect(name, **{"good" if good else "bad": checks})
    seeded.expect("run", bad="eks.clusters-collected")


HELD = (
    "ec2.instances-reconciled ec2.volumes-reconciled ec2.security-groups-reconciled ec2.vpcs-reconciled "
    "rds.instances-reconciled lambda.functions-reconciled elbv2.load-balancers-reconciled kms.keys-reconciled"
)
"""Lists that AWS Config confirms where it is on."""


def _trails(client: Client, seeded: Seeded) -> None:
    trail = client("cloudtrail", HOME)
    made = trail.create_trail(
        Name="organisation",
        S3BucketName="audit-logs",
        IsMultiRegionTrail=True,
        IncludeGlobalServiceEvents=True,
        EnableLogFileValidation=True,
    )
    trail.start_logging(Name="organisation")
    client("s3", AWAY).create_bucket(Bucket="trail-away", CreateBucketConfiguration={"LocationConstraint": AWAY})
    other = client("cloudtrail", AWAY).create_trail(
        Name="experiment", S3BucketName="trail-away", IsMultiRegionTrail=False, EnableLogFileValidation=False
    )
    seeded.made(3)
    seeded.expect(made["TrailARN"], good="cloudtrail.log-file-validation", bad="cloudtrail.log-encryption")
    seeded.expect(other["TrailARN"], bad="cloudtrail.log-file-validation")
    seeded.expect("demo", good="cloudtrail.multi-region-logging")
    recorder = client("config", HOME)
    recorder.put_configuration_recorder(
        ConfigurationRecorder={
            "name": "default",
            "roleARN": f"arn:aws:iam::{ACCOUNT}:role/web-server",
            "recordingGroup": {"allSupported": True, "includeGlobalResourceTypes": True},
        }
    )
    recorder.put_delivery_channel(DeliveryChannel={"name": "default", "s3BucketName": "audit-logs"})
    recorder.start_configuration_recorder(ConfigurationRecorderName="default")
    client("guardduty", HOME).create_detector(Enable=True)
    seeded.made(2)
    seeded.expect(f"demo/{HOME}", good=f"config.recorder-on guardduty.detector-on {HELD}")
    seeded.expect(f"demo/{AWAY}", bad="config.recorder-on guardduty.detector-on", skip=HELD)


def discovered(client: Client) -> Iterator[str]:
    """What AWS Config has discovered at home a month ago: the resources that stand there, as it answers a query."""
    ec2 = client("ec2", HOME)
    instances = [one for some in ec2.describe_instances()["Reservations"] for one in some["Instances"]]
    found = [("AWS::EC2::Instance", one["InstanceId"], "") for one in instances]
    found += [("AWS::EC2::Volume", one["VolumeId"], "") for one in ec2.describe_volumes()["Volumes"]]
    groups = ec2.describe_security_groups()["SecurityGroups"]
    found += [("AWS::EC2::SecurityGroup", one["GroupId"], "") for one in groups]
    found += [("AWS::EC2::VPC", one["VpcId"], "") for one in ec2.describe_vpcs()["Vpcs"]]
    for bucket in client("s3", HOME).list_buckets()["Buckets"]:
        if client("s3", HOME).get_bucket_location(Bucket=bucket["Name"])["LocationConstraint"] == HOME:
            found.append(("AWS::S3::Bucket", bucket["Name"], f"arn:aws:s3:::{bucket['Name']}"))
    for name, service, operation, rows, arn in (
        ("AWS::RDS::DBInstance", "rds", "describe_db_instances", "DBInstances", "DBInstanceArn"),
        ("AWS::Lambda::Function", "lambda", "list_functions", "Functions", "FunctionArn"),
        ("AWS::KMS::Key", "kms", "list_keys", "Keys", "KeyArn"),
        ("AWS::ElasticLoadBalancingV2::LoadBalancer", "elbv2", "describe_load_balancers", "LoadBalancers", "LoadBalancerArn"),
    ):  # fmt: skip
        rows_there = getattr(client(service, HOME), operation)()[rows]
        found += [(name, one[arn].rpartition(":")[2], one[arn]) for one in rows_there]
    for kind, resource, arn in found:
        item = {"resourceId": resource, "resourceType": kind, "configurationItemStatus": "OK"}
        item |= {"arn": arn or f"arn:aws:ec2:{HOME}:{ACCOUNT}:{kind.rpartition(':')[2].lower()}/{resource}"}
        yield json.dumps({**item, "configurationItemCaptureTime": f"{make_old(30).isoformat()}.000Z"})


def _backups(client: Client, seeded: Seeded) -> None:
    backup = client("backup", HOME)
    backup.create_backup_vault(BackupVaultName="main")
    rule = {
        "RuleName": "nightly",
        "TargetBackupVaultName": "main",
        "ScheduleExpression": "cron(0 3 * * ? *)",
        "Lifecycle": {"DeleteAfterDays": 35},
    }
    backup.create_backup_plan(BackupPlan={"BackupPlanName": "databases", "Rules": [rule]})
    seeded.made(2)
    seeded.expect("demo", good="backup.plan-exists backup.job-success")
    seeded.expect(f"demo/{HOME}", good="backup.databases-protected")
    seeded.expect(f"demo/{AWAY}", bad="backup.databases-protected")


def backups(path: str, *, home: bool) -> dict[str, Any] | None:
    """What AWS Backup says of the estate: nightly jobs of 30 days over the databases at home, one of them failed."""
    if path.endswith("/selections/"):
        return {
            "BackupSelectionsList": [
                {"SelectionId": "s-1", "SelectionName": "databases", "BackupPlanId": path.split("/")[3]}
            ]
        }
    databases = [f"arn:aws:rds:{HOME}:{ACCOUNT}:db:{name}" for name in ("orders", "people")] if home else []
    if path == "/resources/":
        made = [{"ResourceArn": arn, "ResourceType": "RDS", "LastBackupTime": _ago(0.4)} for arn in databases]
        return {"Results": made}
    if path == "/backup-jobs/":
        jobs = [
            {
                "BackupJobId": f"{arn.rpartition(':')[2]}-{night}", "BackupVaultName": "main", "ResourceArn": arn, "ResourceType": "RDS",
                "State": "FAILED" if (night, arn) == (11, databases[0]) else "COMPLETED",
                "CreationDate": _ago(night + 0.5), "CompletionDate": _ago(night + 0.4),
            }
            for arn in databases
            for night in range(30)
        ]  # fmt: skip
        return {"BackupJobs": jobs}
    return None


def _ago(days: float) -> float:
    return (datetime.now(UTC) - timedelta(days=days)).timestamp()


def make_old(days: int) -> datetime:
    """A moment that many days ago, as moto keeps it (naive UTC)."""
    return (datetime.now(UTC) - timedelta(days=days)).replace(tzinfo=None, microsecond=0)


def back_date(backend: Any) -> None:
    """Age users and keys in moto's own memory: the public API has no way to do it."""
    from moto.iam.models import AccessKeyLastUsed

    for name, password, made, used in ages():
        user = backend.users[name]
        user.create_date = make_old(500)
        if password is not None:
            user.password_last_used = make_old(password)
        for key in user.access_keys:
            with suppress(TypeError):
                key.create_date = make_old(made or 0)
                key.last_used = AccessKeyLastUsed(timestamp=make_old(used or 0), service="s3", region=HOME)
