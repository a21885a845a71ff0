"""The register of documents: how it is read, and what we require of policies and other rules."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Record, Registers, Row, Table, Verdict, check, fail, ok, skip, source
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


@check(
    "register.documents.information-security-policy",
    title="The information security policy is in force",
    severity="high",
    over=("register.documents",),
)
def information_security_policy(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("information-security",)
) -> Verdict:
    """A document in force says the information security policy.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.acceptable-use",
    title="A rule on acceptable use is in force",
    severity="medium",
    over=("register.documents",),
)
def acceptable_use(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("acceptable-use",)
) -> Verdict:
    """A document in force says how information and other assets may be used.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.classification-scheme",
    title="A classification scheme is in force",
    severity="medium",
    over=("register.documents",),
)
def classification_scheme(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("classification",)
) -> Verdict:
    """A document in force says how information is classified and labelled.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.information-transfer",
    title="A rule on the transfer of information is in force",
    severity="medium",
    over=("register.documents",),
)
def information_transfer(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("information-transfer",)
) -> Verdict:
    """A document in force says how information is transferred.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.access-control",
    title="A rule on access is in force",
    severity="medium",
    over=("register.documents",),
)
def access_control(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("access-control",)
) -> Verdict:
    """A document in force says who may have access to what.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.contacts-authorities",
    title="A list of contacts with authorities is in force",
    severity="low",
    over=("register.documents",),
)
def contacts_authorities(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("contacts-authorities",)
) -> Verdict:
    """A document in force says which authorities are told, by whom and when.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.contacts-interest-groups",
    title="A list of memberships in interest groups is in force",
    severity="low",
    over=("register.documents",),
)
def contacts_interest_groups(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("contacts-interest-groups",)
) -> Verdict:
    """A document in force says which groups and forums the organisation belongs to.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.supplier-security",
    title="A rule on the security of suppliers is in force",
    severity="medium",
    over=("register.documents",),
)
def supplier_security(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("supplier-security",)
) -> Verdict:
    """A document in force says what is asked of suppliers.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.supply-chain",
    title="A rule on the supply chain of information technology is in force",
    severity="medium",
    over=("register.documents",),
)
def supply_chain(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("supply-chain",)
) -> Verdict:
    """A document in force says what suppliers pass on to their own suppliers, and how components are chosen.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.cloud-services",
    title="A rule on the use of cloud services is in force",
    severity="medium",
    over=("register.documents",),
)
def cloud_services(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("cloud-services",)
) -> Verdict:
    """A document in force says how cloud services are chosen, used and left.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.incident-response",
    title="A plan for incidents is in force",
    severity="high",
    over=("register.documents",),
)
def incident_response(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("incident-response",)
) -> Verdict:
    """A document in force says who does what when an incident happens.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.evidence-collection",
    title="A procedure for securing evidence is in force",
    severity="low",
    over=("register.documents",),
)
def evidence_collection(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("evidence-collection",)
) -> Verdict:
    """A document in force says how evidence is secured and kept.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.business-continuity",
    title="A plan for continuity is in force",
    severity="high",
    over=("register.documents",),
)
def business_continuity(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("business-continuity",)
) -> Verdict:
    """A document in force says how services go on, and how fast they are back.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.intellectual-property",
    title="A rule on intellectual property is in force",
    severity="low",
    over=("register.documents",),
)
def intellectual_property(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("intellectual-property",)
) -> Verdict:
    """A document in force says how licences and rights of others are kept.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.records-retention",
    title="A retention schedule is in force",
    severity="medium",
    over=("register.documents",),
)
def records_retention(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("records-retention",)
) -> Verdict:
    """A document in force says how long which records are kept, and when they are deleted.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.privacy",
    title="A rule on personal data is in force",
    severity="high",
    over=("register.documents",),
)
def privacy(documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("privacy",)) -> Verdict:
    """A document in force says how personal data are protected.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.operating-procedures",
    title="Operating procedures are in force",
    severity="low",
    over=("register.documents",),
)
def operating_procedures(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("operating-procedures",)
) -> Verdict:
    """A document in force says how systems are operated.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.cloud-administration",
    title="Procedures for critical operations in the cloud are in force",
    severity="medium",
    over=("register.documents",),
)
def cloud_administration(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("cloud-administration",)
) -> Verdict:
    """A document in force says how critical administrative operations are done and watched over.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.remote-working",
    title="A rule on remote working is in force",
    severity="medium",
    over=("register.documents",),
)
def remote_working(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("remote-working",)
) -> Verdict:
    """A document in force says how people work outside the premises.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.event-reporting",
    title="A channel for reporting events is written down",
    severity="medium",
    over=("register.documents",),
)
def event_reporting(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("event-reporting",)
) -> Verdict:
    """A document in force says how and where events are reported.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.physical-monitoring",
    title="A rule on watching the premises is in force",
    severity="low",
    over=("register.documents",),
)
def physical_monitoring(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("physical-monitoring",)
) -> Verdict:
    """A document in force says how premises are watched.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.clear-desk",
    title="A rule on clear desk and clear screen is in force",
    severity="low",
    over=("register.documents",),
)
def clear_desk(documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("clear-desk",)) -> Verdict:
    """A document in force says how desks and screens are left.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.assets-off-site",
    title="A rule on assets outside the premises is in force",
    severity="low",
    over=("register.documents",),
)
def assets_off_site(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("assets-off-site",)
) -> Verdict:
    """A document in force says how assets are protected outside the premises.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.storage-media",
    title="A rule on storage media is in force",
    severity="low",
    over=("register.documents",),
)
def storage_media(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("storage-media",)
) -> Verdict:
    """A document in force says how media are used, carried and disposed of.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.data-masking",
    title="A rule on masking data is in force",
    severity="low",
    over=("register.documents",),
)
def data_masking(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("data-masking",)
) -> Verdict:
    """A document in force says when personal and other sensitive data are masked.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.cryptography",
    title="A rule on cryptography is in force",
    severity="medium",
    over=("register.documents",),
)
def cryptography(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("cryptography",)
) -> Verdict:
    """A document in force says which cryptography is used and how keys are kept.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.secure-development",
    title="Rules on secure development are in force",
    severity="medium",
    over=("register.documents",),
)
def secure_development(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("secure-development",)
) -> Verdict:
    """A document in force says how software is developed.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.secure-architecture",
    title="Principles of secure architecture are in force",
    severity="medium",
    over=("register.documents",),
)
def secure_architecture(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("secure-architecture",)
) -> Verdict:
    """A document in force says which principles systems are built by.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.change-management",
    title="A rule on changes is in force",
    severity="medium",
    over=("register.documents",),
)
def change_management(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("change-management",)
) -> Verdict:
    """A document in force says how changes are asked for, approved, tested and undone.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.test-information",
    title="A rule on test information is in force",
    severity="low",
    over=("register.documents",),
)
def information_for_tests(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("test-information",)
) -> Verdict:
    """A document in force says which data tests may use.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.network-services",
    title="A rule on network services is in force",
    severity="medium",
    over=("register.documents",),
)
def network_services(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("network-services",)
) -> Verdict:
    """A document in force says what is asked of network services, own and bought.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.malware-protection",
    title="A rule on malware is in force",
    severity="medium",
    over=("register.documents",),
)
def malware_protection(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("malware-protection",)
) -> Verdict:
    """A document in force says how systems are protected against malware, and who handles what is found.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.data-leakage",
    title="A rule on the leakage of data is in force",
    severity="low",
    over=("register.documents",),
)
def data_leakage(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("data-leakage",)
) -> Verdict:
    """A document in force says through which channels data must not leave, and how that is watched.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


@check(
    "register.documents.web-filtering",
    title="A rule on access to web sites is in force",
    severity="low",
    over=("register.documents",),
)
def web_filtering(
    documents: Iterator[Record], *, as_of: datetime, topics: tuple[str, ...] = ("web-filtering",)
) -> Verdict:
    """A document in force says which web sites may not be reached, and how that is enforced.

    Each of ``topics`` is the topic of one. In force means that somebody who did not write it approved it, and that its
    review is not overdue.
    Source: ``topics``, ``status``, ``approver``, ``author``, ``approved``, ``next_review``.
    Remedy: write it, have it approved, or name the topic in the document that says it.
    """
    return _covered(documents, topics, as_of)


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
        who = person(staff, one["person"])
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
