"""The register of documents: how it is read, and what we require of policies and other rules."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Check, Record, Registers, Row, Severity, Table, Verdict, check, fail, ok, skip, source
from collector.registers.facts import another_person, days_after, is_past, not_working, person, same_person
from collector.terminology import findings


@source(
    "register.documents",
    key="id",
    per="connection",
    permissions=("read documents/**.md", "read documents.csv"),
)
def documents(registers: Registers) -> Iterator[Row]:
    """Every document with a head in the folder documents, and every row of documents.csv, withdrawn ones included.

    ``Terminology`` is what the linter of terms found in the text; ``None`` where the text is kept elsewhere.
    """
    for row, text in registers.documents():
        yield {**row, "Terminology": findings(text) if text else None}


@source(
    "register.acknowledgements", key="Key", per="connection", permissions=("read acknowledgements.csv",), kind="period"
)
def acknowledgements(registers: Registers) -> Iterator[Row]:
    """Every acknowledgement in acknowledgements.csv: a person, a document and its version."""
    yield from registers.table("acknowledgements")


@check(
    "register.documents.owner-active",
    title="Documents have an owner who belongs to the organisation",
    severity="medium",
    each="register.documents",
    beside=("register.people",),
)
def owner_active(document: Record, people: Table, *, as_of: datetime) -> Verdict:
    """The owner of a document that is not withdrawn is in people.csv and works for the organisation today.

    Source: the head of the document, or documents.csv (``owner``); people.csv (``status``, ``end``).
    Remedy: name an owner.
    """
    if document["status"] == "withdrawn":
        return skip("it is withdrawn")
    wrong = not_working(people, document["owner"], as_of)
    return fail(f"no owner: {wrong}") if wrong else ok(f"owned by {document['owner']}")


@check(
    "register.documents.approved-by-another",
    title="Documents in force were approved by somebody who did not write them",
    severity="high",
    each="register.documents",
)
def approved_by_another(document: Record, *, as_of: datetime, owner_may_approve: bool = False) -> Verdict:
    """A document with the status approved names an approver, a day of approval that has come, and another as author.

    Unless ``owner_may_approve``, the approver is not the owner either. The date of a file or of a commit is no
    approval. A document without an author cannot be held against its approver.
    Source: ``approver``, ``approved``, ``author``, ``owner``.
    Remedy: have it approved, and write down by whom and when.
    """
    if document["status"] != "approved":
        return skip(f"its status is {document['status']}")
    approver, day = document["approver"], document["approved"]
    if not approver or not day:
        return fail(f"approver {approver or 'not named'}, day of approval {day or 'not named'}")
    if day[:10] > as_of.date().isoformat():
        return fail(f"its approval is of {day}, which has not come")
    others = [document["author"]] if owner_may_approve else [document["author"], document["owner"]]
    if not document["author"]:
        return fail("no author is named, so that nothing shows that another approved it")
    if any(same_person(approver, other) for other in others):
        return fail(f"{approver} approved what is their own")
    return ok(f"approved by {approver} on {day}")


@check(
    "register.documents.review-in-time",
    title="Documents in force are reviewed in time",
    severity="medium",
    each="register.documents",
)
def review_in_time(document: Record, *, as_of: datetime, max_interval_days: int = 366) -> Verdict:
    """The next review of an approved document has not passed and is at most ``max_interval_days`` after its approval.

    Source: ``approved``, ``next_review``.
    Remedy: review it, approve it again, and set the next day.
    """
    if document["status"] != "approved":
        return skip(f"its status is {document['status']}")
    due, day = document["next_review"], document["approved"]
    if not due or not day:
        return fail(f"approved {day or 'on no day'}, next review {due or 'on no day'}")
    if is_past(due, as_of):
        return fail(f"its review was due on {due}")
    interval = days_after(day, due)
    told = f"next review on {due}, {interval} days after its approval, limit {max_interval_days}"
    return ok(told) if interval <= max_interval_days else fail(told)


SCHEME = ("public", "internal", "confidential", "secret")


@check(
    "register.documents.labelled",
    title="Documents carry a level of the classification scheme",
    severity="low",
    each="register.documents",
)
def labelled(document: Record, *, scheme: tuple[str, ...] = SCHEME) -> Verdict:
    """The classification of a document that is not withdrawn is one of ``scheme``.

    Source: ``classification``.
    Remedy: label it; set ``scheme`` to the levels of your own scheme.
    """
    if document["status"] == "withdrawn":
        return skip("it is withdrawn")
    level = document["classification"]
    return ok(f"labelled {level}") if level in scheme else fail(f"labelled {level or 'nothing'}")


@check(
    "register.documents.terminology",
    title="Documents name standards, editions and controls as they are called",
    severity="low",
    each="register.documents",
)
def terminology(document: Record, *, max_findings: int = 0) -> Verdict:
    """The text of a document that is not withdrawn has at most ``max_findings`` wrong names, editions or numbers.

    Source: the text below the head, held against the catalogues of this program (``Terminology``).
    Remedy: ``affidavit registers check FOLDER`` prints each line with what to write.
    """
    if document["status"] == "withdrawn":
        return skip("it is withdrawn")
    if document["Terminology"] is None:
        return skip("its text is kept elsewhere")
    found = [f"line {one['line']}: {one['found']} ({one['write']})" for one in document["Terminology"]]
    if len(found) <= max_findings:
        return ok(f"{len(found)} wrong terms, limit {max_findings}")
    return fail(f"{len(found)} wrong terms, limit {max_findings}: {'; '.join(found[:5])}")


def _covered(documents: Iterator[Record], topics: tuple[str, ...], as_of: datetime) -> Verdict:
    """Each topic is ruled on by a document that another approved than wrote it, and whose review is not overdue."""
    found: dict[str, str] = {}
    for document in documents:
        sound = document["status"] == "approved" and document["approver"] and document["approved"]
        sound = sound and another_person(document["approver"], document["author"])
        if sound and document["next_review"] and not is_past(document["next_review"], as_of):
            found.update(dict.fromkeys(document["topics"], f"{document['id']} {document['version']}"))
    missing = [topic for topic in topics if topic not in found]
    if missing:
        return fail(f"no document in force on {', '.join(missing)}")
    return ok(", ".join(f"{topic}: {found[topic]}" for topic in topics))


def _ruled(name: str, severity: Severity, title: str, says: str, *, topic: str = "") -> Check:
    """A check that a document in force says something; its topic is called as the check, unless it is named."""

    def in_force(
        documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = (topic or name.rpartition(".")[2],)
    ) -> Verdict:
        return _covered(documents, topics, as_of)

    in_force.__doc__ = f"""A document in force says {says}.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return check(name, title=title, severity=severity, over=("register.documents",))(in_force)


RULED = (
    _ruled("register.documents.information-security-policy", "high", "The information security policy is in force",
           "the information security policy", topic="information-security"),
    _ruled("register.documents.acceptable-use", "medium", "A rule on acceptable use is in force",
           "how information and other assets may be used"),
    _ruled("register.documents.classification-scheme", "medium", "A classification scheme is in force",
           "how information is classified and labelled", topic="classification"),
    _ruled("register.documents.information-transfer", "medium", "A rule on the transfer of information is in force",
           "how information is transferred"),
    _ruled("register.documents.access-control", "medium", "A rule on access is in force",
           "who may have access to what"),
    _ruled("register.documents.contacts-authorities", "low", "A list of contacts with authorities is in force",
           "which authorities are told, by whom and when"),
    _ruled("register.documents.contacts-interest-groups", "low", "A list of memberships in interest groups is in force",
           "which groups and forums the organisation belongs to"),
    _ruled("register.documents.supplier-security", "medium", "A rule on the security of suppliers is in force",
           "what is asked of suppliers"),
    _ruled("register.documents.supply-chain", "medium",
           "A rule on the supply chain of information technology is in force",
           "what suppliers pass on to their own suppliers, and how components are chosen"),
    _ruled("register.documents.cloud-services", "medium", "A rule on the use of cloud services is in force",
           "how cloud services are chosen, used and left"),
    _ruled("register.documents.incident-response", "high", "A plan for incidents is in force",
           "who does what when an incident happens"),
    _ruled("register.documents.evidence-collection", "low", "A procedure for securing evidence is in force",
           "how evidence is secured and kept"),
    _ruled("register.documents.business-continuity", "high", "A plan for continuity is in force",
           "how services go on, and how fast they are back"),
    _ruled("register.documents.intellectual-property", "low", "A rule on intellectual property is in force",
           "how licences and rights of others are kept"),
    _ruled("register.documents.records-retention", "medium", "A retention schedule is in force",
           "how long which records are kept, and when they are deleted"),
    _ruled("register.documents.privacy", "high", "A rule on personal data is in force",
           "how personal data are protected"),
    _ruled("register.documents.operating-procedures", "low", "Operating procedures are in force",
           "how systems are operated"),
    _ruled("register.documents.cloud-administration", "medium",
           "Procedures for critical operations in the cloud are in force",
           "how critical administrative operations are done and watched over"),
    _ruled("register.documents.remote-working", "medium", "A rule on remote working is in force",
           "how people work outside the premises"),
    _ruled("register.documents.event-reporting", "medium", "A channel for reporting events is written down",
           "how and where events are reported"),
    _ruled("register.documents.physical-monitoring", "low", "A rule on watching the premises is in force",
           "how premises are watched"),
    _ruled("register.documents.clear-desk", "low", "A rule on clear desk and clear screen is in force",
           "how desks and screens are left"),
    _ruled("register.documents.assets-off-site", "low", "A rule on assets outside the premises is in force",
           "how assets are protected outside the premises"),
    _ruled("register.documents.storage-media", "low", "A rule on storage media is in force",
           "how media are used, carried and disposed of"),
    _ruled("register.documents.data-masking", "low", "A rule on masking data is in force",
           "when personal and other sensitive data are masked"),
    _ruled("register.documents.cryptography", "medium", "A rule on cryptography is in force",
           "which cryptography is used and how keys are kept"),
    _ruled("register.documents.secure-development", "medium", "Rules on secure development are in force",
           "how software is developed"),
    _ruled("register.documents.secure-architecture", "medium", "Principles of secure architecture are in force",
           "which principles systems are built by"),
    _ruled("register.documents.change-management", "medium", "A rule on changes is in force",
           "how changes are asked for, approved, tested and undone"),
    _ruled("register.documents.test-information", "low", "A rule on test information is in force",
           "which data tests may use"),
    _ruled("register.documents.network-services", "medium", "A rule on network services is in force",
           "what is asked of network services, own and bought"),
    _ruled("register.documents.malware-protection", "medium", "A rule on malware is in force",
           "how systems are protected against malware, and who handles what is found"),
    _ruled("register.documents.data-leakage", "low", "A rule on the leakage of data is in force",
           "through which channels data must not leave, and how that is watched"),
    _ruled("register.documents.web-filtering", "low", "A rule on access to web sites is in force",
           "which web sites may not be reached, and how that is enforced"),
)  # fmt: skip


def _acknowledged(
    documents: Iterator[Record],
    acknowledgements: Iterator[Record],
    people: Iterator[Record],
    as_of: datetime,
    limits: tuple[tuple[str, ...], int, int],
) -> Verdict:
    """Enough of the people who work here acknowledged the version in force of each document on the topics."""
    topics, min_pct, due_days = limits
    wanted = [one for one in documents if one["status"] == "approved" and set(one["topics"]) & set(topics)]
    if not wanted:
        return fail(f"no approved document on {', '.join(topics)} that anybody could acknowledge")
    staff = Table(list(people))
    due = [
        one["id"] for one in staff
        if one["status"] != "leave" and not not_working(staff, one["id"], as_of)
        and days_after(one["start"], as_of.date().isoformat()) >= due_days
    ]  # fmt: skip
    if not due:
        return skip(f"nobody has been here for {due_days} days")
    told: dict[tuple[str, str], set[str]] = {}
    for one in acknowledgements:
        who = person(staff, one["person"], as_of)
        if who is not None:
            told.setdefault((one["document"].casefold(), one["version"]), set()).add(who["id"])
    short = []
    for document in wanted:
        done = told.get((document["id"].casefold(), document["version"]), set())
        missing = [one for one in due if one not in done]
        if 100 * (len(due) - len(missing)) < min_pct * len(due):
            named = ", ".join(missing[:10])
            short.append(f"{document['id']} {document['version']} by {len(due) - len(missing)}, not by {named}")
    limit = f"of {len(due)} people, at least {min_pct} % wanted"
    if short:
        return fail(f"acknowledged {limit}: {'; '.join(short)}")
    return ok(f"{', '.join(one['id'] for one in wanted)} acknowledged {limit}")


@check(
    "register.acknowledgements.policy",
    title="People acknowledged the information security policy",
    severity="medium",
    over=("register.documents", "register.acknowledgements", "register.people"),
)
def policy(
    documents: Iterator[Record],
    acknowledgements: Iterator[Record],
    people: Iterator[Record],
    *,
    as_of: datetime,
    topics: tuple[str, ...] = ("information-security",),
    min_pct: int = 98,
    due_days: int = 30,
) -> Verdict:
    """At least ``min_pct`` of those who have worked here for ``due_days`` acknowledged each document on ``topics``.

    What counts is the version in force. Who is on leave is not counted.
    Source: acknowledgements.csv, people.csv, ``topics`` and ``version`` of the documents.
    Remedy: have those who are named acknowledge it.
    """
    return _acknowledged(documents, acknowledgements, people, as_of, (topics, min_pct, due_days))


@check(
    "register.acknowledgements.acceptable-use",
    title="People acknowledged the rule on acceptable use",
    severity="medium",
    over=("register.documents", "register.acknowledgements", "register.people"),
)
def acceptable_use_acknowledged(
    documents: Iterator[Record],
    acknowledgements: Iterator[Record],
    people: Iterator[Record],
    *,
    as_of: datetime,
    topics: tuple[str, ...] = ("acceptable-use",),
    min_pct: int = 98,
    due_days: int = 30,
) -> Verdict:
    """At least ``min_pct`` of those who have worked here for ``due_days`` acknowledged each document on ``topics``.

    What counts is the version in force. Who is on leave is not counted.
    Source: acknowledgements.csv, people.csv, ``topics`` and ``version`` of the documents.
    Remedy: have those who are named acknowledge it.
    """
    return _acknowledged(documents, acknowledgements, people, as_of, (topics, min_pct, due_days))
