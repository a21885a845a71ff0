"""What runs held against the inventory of assets, and what is backed up against the restores that were tried."""

from datetime import datetime

from collector.api import Record, Table, Verdict, check, fail, ok, skip
from collector.registers.facts import days_after, moment
from collector.registers.matching import inventoried

INVENTORY = ("register.assets", "register.people")


@check(
    "joins.aws.accounts-in-inventory",
    title="Every AWS account of the organisation is an asset with an owner",
    severity="medium",
    each="aws.organizations.accounts",
    beside=INVENTORY,
)
def aws_accounts_in_inventory(account: Record, assets: Table, people: Table, *, as_of: datetime) -> Verdict:
    """The id or name of an account that is not closed is that of a row of assets.csv whose owner works here.

    A row may stand for several, with ``*``. Source: ListAccounts (``Id``, ``Name``, ``State``, before September 2025
    ``Status``); assets.csv (``id``, ``name``, ``owner``, ``disposed``), people.csv.
    Remedy: add the account to the inventory, or close it.
    """
    state = account["State"] if "State" in account else account["Status"]
    if state == "CLOSED":
        return skip("the account is closed")
    return inventoried(assets, people, (account["Id"], account["Name"]), as_of)


@check(
    "joins.github.repositories-in-inventory",
    title="Every GitHub repository is an asset with an owner",
    severity="medium",
    each="github.repositories",
    beside=INVENTORY,
)
def github_repositories_in_inventory(repo: Record, assets: Table, people: Table, *, as_of: datetime) -> Verdict:
    """The full name of a repository that is not archived is that of a row of assets.csv whose owner works here.

    A row may stand for several: ``example-org/shop-*``. Source: List organization repositories (``full_name``,
    ``archived``); assets.csv (``id``, ``name``, ``owner``, ``disposed``), people.csv.
    Remedy: add the repository to the inventory, or archive it.
    """
    if repo["archived"]:
        return skip("the repository is archived")
    return inventoried(assets, people, (repo["full_name"],), as_of)


@check(
    "joins.gitlab.projects-in-inventory",
    title="Every GitLab project is an asset with an owner",
    severity="medium",
    each="gitlab.projects",
    beside=INVENTORY,
)
def gitlab_projects_in_inventory(project: Record, assets: Table, people: Table, *, as_of: datetime) -> Verdict:
    """The full path of a project that is not archived is that of a row of assets.csv whose owner works here.

    A row may stand for several: ``example/shop/*``. Source: List group projects (``path_with_namespace``,
    ``archived``); assets.csv (``id``, ``name``, ``owner``, ``disposed``), people.csv.
    Remedy: add the project to the inventory, or archive it.
    """
    if project["archived"]:
        return skip("the project is archived")
    return inventoried(assets, people, (project["path_with_namespace"],), as_of)


@check(
    "joins.kubernetes.cluster-in-inventory",
    title="The Kubernetes cluster is an asset with an owner",
    severity="medium",
    each="kubernetes.version",
    beside=INVENTORY,
)
def kubernetes_cluster_in_inventory(
    _: Record, assets: Table, people: Table, *, as_of: datetime, scope: str
) -> Verdict:
    """A row of assets.csv whose owner works here has the name of the connection to the cluster.

    Source: the configuration (name of the connection); assets.csv (``id``, ``name``, ``owner``, ``disposed``).
    Remedy: add the cluster to the inventory, under the name the connection has.
    """
    return inventoried(assets, people, (scope,), as_of)


@check(
    "joins.aws.vaults-restored-from",
    title="Restores from each AWS Backup vault were tried, and passed",
    severity="high",
    each="aws.backup.vaults",
    beside=("register.restore-tests",),
)
def aws_vaults_restored_from(vault: Record, tests: Table, *, as_of: datetime, max_days: int = 366) -> Verdict:
    """Of a vault that holds recovery points, the last test of a restore passed, within ``max_days``.

    A test names the vault as the system that was restored. Which of its recovery points were tried is not seen.
    Source: ListBackupVaults (``BackupVaultName``, ``NumberOfRecoveryPoints``); restore-tests.csv (``system``,
    ``held``, ``result``).
    Remedy: restore something from the vault, and record it.
    """
    points, name = vault["NumberOfRecoveryPoints"], vault["BackupVaultName"]
    if not points:
        return skip("the vault holds no recovery point")
    held = [test for test in tests.where("system", name) if test["held"] and moment(test["held"]) <= as_of]
    if not held:
        return fail(f"{points} recovery points, and no test of a restore from {name} is recorded")
    last = max(held, key=lambda test: moment(test["held"]))
    age = days_after(last["held"], as_of.date().isoformat())
    told = f"test {last['id']} {last['result'] or 'without a result'} {age} days ago, limit {max_days}"
    return ok(told) if last["result"] == "passed" and age <= max_days else fail(told)
