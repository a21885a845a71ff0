"""GitLab environments: who can deploy to production."""

from collections.abc import Iterator
from typing import Any

from collector.api import Http, Record, Redaction, Row, Verdict, check, fail, ok, skip, source

REDACTED = Redaction(
    "gitlab:GET *",
    "credentials",
    regex=r'"(?:runners_token|import_url|service_desk_address|avatar_url)"\s*:\s*"(?P<secret>(?:[^"\\]|\\.)*)"',
)
LISTED: dict[str, Any] = {
    "include_subgroups": True, "with_shared": False, "order_by": "id", "sort": "asc", "per_page": 100,
}  # fmt: skip


@source(
    "gitlab.environments", key="Key", per="account", permissions=("read_api",), redactions=(REDACTED,),
    filters="environments that are not stopped",
)  # fmt: skip
def environments(gitlab: Http) -> Iterator[Row]:
    """Every environment that is not stopped, of every project that is not archived, with the project's protections."""
    for project in gitlab.pages("/api/v4/groups/{id}/projects", id=gitlab.account, **LISTED):
        if project["archived"]:
            gitlab.leave_out("archived projects")
            continue
        at, one = "/api/v4/projects/{id}", project["id"]
        protected = None
        for item in gitlab.pages(f"{at}/environments", id=one, states="available", per_page=100):
            if protected is None:  # asked once, and only where a row will hold it
                protected = gitlab.attempt_all(f"{at}/protected_environments", id=one, per_page=100)
            key = f"{project['path_with_namespace']}:{item['name']}"
            yield {"Key": key, **item, "protected_environments": protected}


@check(
    "gitlab.environments.protected",
    title="Few can deploy to production on GitLab",
    severity="high",
    each="gitlab.environments",
)
def protected(environment: Record, *, min_access_level: int = 40) -> Verdict:
    """A production environment is protected, and a role that may deploy there is at least ``min_access_level``.

    Source: List environments (``tier``), List protected environments (``deploy_access_levels``; people and groups that
    are named count as limited). Protection by a group is not seen here. 30 is a developer, 40 a maintainer.
    Remedy: Settings, CI/CD, Protected environments.
    """
    if environment["tier"] != "production":
        return skip(f"{environment['name']} is not of the tier production")
    found = [item for item in environment["protected_environments"] if item["name"] == environment["name"]]
    if not found:
        return fail(f"{environment['name']} is not protected")
    low = sorted(
        {
            level["access_level_description"]
            for item in found
            for level in item["deploy_access_levels"]
            if level["access_level"] is not None and level["access_level"] < min_access_level
            and not level.get("user_id") and not level.get("group_id")
        }
    )  # fmt: skip
    return fail(f"may deploy: {', '.join(low)}") if low else ok("protected, and limited to named ones or high roles")
