"""The registers of the demo's organisation: people, documents, suppliers and the rest, with known faults and virtues.

``-30d`` is the day thirty days before the demo, ``-30d 09:20`` a time on it; columns that are not named stay empty.
What is expected of each row is written down here; the checks are not consulted.
"""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from collector.demo.estate import LEAVER, Seeded
from collector.registers.shape import shape

PEOPLE = ("anna", "bela", "carla", "dora", "emil", "gerda", "hugo", "ines", LEAVER)
"""IAM users with a person, from p-1 on; the user fritz belongs to nobody."""
GONE = f"p-{len(PEOPLE)}"

_STAFF = [f"p-{number}" for number in range(1, len(PEOPLE))]
_STARTED = {"p-7": 300, "p-8": 60}

TABLES = {
    "people": "id,email,status,kind,start,end\n"
    + "".join(f"{who},{who}@example.org,active,employee,-{_STARTED.get(who, 900)}d,\n" for who in _STAFF)
    + f"{GONE},{GONE}@example.org,left,employee,-800d,-23d\n",
    "identities": "person,system,account\n"
    + "".join(f"p-{number},demo,{user}\n" for number, user in enumerate(PEOPLE, 1)),
    "joiners": """\
person,started,screening_needed,screened,terms_signed,confidentiality_signed
p-7,-300d,no,,-320d,-320d
p-8,-60d,yes,-70d,-80d,-80d
""",
    "movers": """\
person,moved,from,to,access_reviewed,reviewer,rights_to_remove,access_removed,has_assets,assets_returned
p-4,-120d,operations,platform,-121d,p-2,no,,no,
p-6,-70d,sales,finance,-68d,p-3,yes,,yes,-66d
""",
    "leavers": f"""\
person,left,access_removed,has_assets,assets_returned,has_badge,badge_returned,duties_reminded
{GONE},-23d,,yes,,yes,-23d,-30d
""",
    "roles": """\
role,kind,holder,deputy,appointed,accepted
information security officer,management,p-2,p-3,-500d,-495d
incident manager,incident,p-3,p-2,-500d,-498d
continuity manager,continuity,p-4,p-5,-200d,-190d
""",
    "training": "person,course,due,completed,valid_until\n"
    + "".join(f"{who},security-awareness,-50d,-55d,+310d\n" for who in _STAFF if who not in _STARTED)
    + """\
p-7,security-awareness,-270d,-290d,+75d
p-8,security-awareness,-30d,-50d,+315d
p-5,secure-coding,-20d,,
""",
    "acknowledgements": "person,document,version,acknowledged\n"
    + "".join(f"{who},POL-01,3.0,-45d\n" for who in _STAFF),
    "documents": """\
id,title,version,status,owner,author,approver,approved,next_review,classification,topics
OPS-01,Operations handbook,7.2,approved,p-5,p-5,p-2,-80d,+280d,internal,operating-procedures|\
change-management|malware-protection|network-services|secure-development|test-information|cryptography
RACI-01,Shared responsibility with cloud providers,1.1,approved,p-4,p-4,p-2,-70d,+290d,internal,cloud-administration
""",
    "suppliers": """\
id,name,service,criticality,owner,cloud,assessed,agreement,agreement_ends,clauses,last_review,next_review,certificate_valid_until,responsibilities,exit_plan,ended,data_returned
s-1,Example Cloud,servers,high,p-4,yes,-800d,-780d,+300d,incident-notice|sub-suppliers,-99d,+260d,+200d,RACI-01,EXIT-1,,
s-2,Example Mail,e-mail,critical,p-2,yes,-40d,,,incident-notice|sub-suppliers,-20d,+340d,+90d,RACI-01,EXIT-2,,
s-3,Old Archive,storage,low,p-4,no,-900d,-890d,-31d,confidentiality,,,,,,-31d,-10d
""",
    "assets": f"""\
id,name,kind,owner,holder,classification,off_site,encrypted,licence,checked,disposed,disposal_method,disposal_record
a-1,laptop 1,hardware,p-2,p-3,internal,yes,yes,,-60d,,,
a-2,laptop 2,hardware,p-2,{GONE},internal,yes,yes,,-60d,,,
a-3,customer database,information,,,confidential,no,yes,,-60d,,,
a-4,backup disk,media,p-4,p-4,confidential,no,yes,,-60d,,,
a-5,laptop 0,hardware,p-2,,internal,no,yes,,,-90d,destroyed,CERT-9
""",
    "risks": """\
id,title,owner,level,treatment,accepted_by,accepted,next_review,status
R-1,loss of the main region,p-4,high,reduce,p-4,-90d,+200d,open
R-2,laptops that are not patched,p-5,medium,accept,p-5,-30d,+200d,open
""",
    "changes": """\
id,system,kind,critical,created,requester,approved,approver,tested,implemented,implementer,second_person,rollback,reviewed
C-1,web shop,normal,no,-40d 09:00,p-3,-39d 09:00,p-2,-38d 15:00,-37d 20:00,p-5,,redeploy release 41,
C-2,web shop,normal,no,-12d 09:00,p-3,-10d 09:00,p-2,-12d 15:00,-11d 20:00,p-5,,redeploy release 42,
C-3,payroll,emergency,yes,-50d 22:00,p-6,-50d 22:10,p-2,,-50d 23:00,p-5,p-4,restore the backup,-48d 09:00
""",
    "incidents": """\
id,severity,reporter,detected,reported,classified,decided_by,contained,closed,lessons,evidence,notify_by,notified
I-1,high,staff,-60d 09:00,-60d 09:20,-60d 11:00,p-3,-60d 18:00,-57d 12:00,-50d 12:00,CoC-1,-57d 09:00,-59d 09:00
I-2,critical,tool,-20d 01:00,-20d 01:05,-20d 06:00,p-3,-20d 13:05,-18d 12:00,-10d 12:00,CoC-2,,
I-3,none,outsider,-9d 10:00,-9d 10:05,-9d 11:00,p-3,,,,,,
""",
    "access-requests": """\
id,person,system,account,right,privileged,requested,requester,approved,approver,granted,granter,expires
AR-1,p-8,demo,ines,engineers,no,-61d 09:00,p-3,-61d 12:00,p-2,-60d 09:00,p-5,
AR-2,p-6,demo,gerda,operations,no,-33d 09:00,p-6,-33d 09:10,p-6,-33d 12:00,p-5,
AR-3,p-4,demo,dora,administrator,yes,-90d 09:00,p-4,-90d 12:00,p-2,-90d 14:00,p-5,+90d 00:00
""",
    "exceptions": """\
id,subject,owner,requested,approved,approver,expires,closed,risk
E-1,patches of the web shop,p-3,-300d,-298d,p-2,-15d,,R-1
E-2,one factor on the build machine,p-5,-60d,-55d,p-2,+100d,,R-2
""",
    "access-reviews": """\
id,system,privileged,due,held,reviewer,reviewed,revoked,revocations_done
RV-1,demo,no,-40d,-45d,p-2,12,2,
RV-2,demo,yes,-20d,-25d,p-1,4,1,-23d
""",
    "restore-tests": """\
id,system,kind,planned,held,result,target_min,measured_min,evidence
RT-1,orders,restore,-100d,-100d,passed,240,95,report RT-1
RT-2,people,restore,-45d,,,240,,
RT-3,web shop,recovery,-70d,-69d,passed,240,180,report RT-3
""",
    "audits": """\
id,kind,subject,planned,agreed,held,by,independent,findings,actions_due,actions_closed,report
AU-1,internal-audit,access control,-200d,,-198d,Example Auditors,yes,2,-100d,-110d,REP-1
AU-2,management-review,the management system,-90d,,-90d,p-1,no,1,-30d,-35d,MIN-1
AU-3,penetration-test,web shop,-150d,-170d,-150d,Example Testers,yes,3,-60d,-65d,REP-3
AU-4,supplier-review,s-1,-100d,,-100d,p-4,no,0,,,REP-4
AU-5,continuity-exercise,loss of the main region,-120d,,-118d,p-4,no,0,,,REP-5
AU-6,compliance-review,access control,-80d,,-80d,p-2,no,0,,,REP-6
""",
    "requests": """\
id,kind,received,due,approved,approver,done,masked,removed,record
DR-1,deletion,-50d,-20d,-49d,p-2,-30d,,,ticket 11
DR-2,data-subject,-45d,-15d,-44d,p-2,-25d,,,ticket 12
DR-3,test-data,-40d,-10d,-39d,p-2,-38d,yes,-12d,ticket 13
""",
    "advisories": """\
id,source,kind,received,assessed,relevant,action,done
TI-1,national CERT,cert,-30d,-29d,yes,C-1,-25d
TI-2,vendor of the firewall,vendor,-25d,-23d,no,,
""",
    "projects": """\
id,name,risk,started,assessed,requirements_approved,design_reviewed,tested,go_live,accepted_by,outsourced,deliverables_accepted
PR-1,new web shop,high,-200d,-195d,-180d,-150d,-60d,-50d,p-4,yes,-55d
""",
}  # fmt: skip

DOCUMENTS = {
    "information-security": """\
---
id: POL-01
title: Information security policy
version: "3.0"
status: approved
owner: p-2
author: p-2
approver: p-1
approved: -120d
next_review: +240d
classification: internal
topics: [information-security, acceptable-use, access-control, classification, clear-desk, remote-working, privacy]
---
# Information security policy

We keep a management system as ISO/IEC 27001:2022 asks for. Whoever leaves loses every access on the last day.
""",
    "incidents": """\
---
id: POL-02
title: Incidents and continuity
version: "1.4"
status: approved
owner: p-3
author: p-3
approver: p-1
approved: -400d
next_review: -35d
classification: internal
topics: [incident-response, event-reporting, evidence-collection, business-continuity]
---
# Incidents and continuity

Report every event to the incident manager within a day.
""",
    "suppliers": """\
---
id: POL-03
title: Suppliers and cloud services
version: "2.0"
status: approved
owner: p-4
author: p-4
approver: p-1
approved: -150d
next_review: +200d
classification: internal
topics: [supplier-security, supply-chain, cloud-services]
---
# Suppliers and cloud services

Suppliers that matter are assessed against ISO/IEC 27002:2013 before we sign.
""",
}

MINUTES = """\
# Minutes of the management review

Present: the management and the information security officer. Decided: one finding is to be closed within 60 days.
"""

_GOOD = """\
POL-01: documents.owner-active documents.approved-by-another documents.review-in-time documents.terminology
POL-03: documents.approved-by-another documents.review-in-time
p-1: people.consistent
p-8/-60d: joiners.screened joiners.terms-signed joiners.confidentiality-signed
{gone}/-23d: leavers.badge-returned leavers.duties-reminded
p-4/-120d: movers.in-people movers.access-reviewed
p-6/-70d: movers.access-reviewed movers.assets-returned
incident manager: roles.held roles.accepted roles.deputies
s-1: suppliers.owner-active suppliers.agreement-in-force suppliers.review-in-time suppliers.responsibilities-split
s-3: suppliers.data-returned
a-1: assets.owner-active assets.not-held-by-leavers assets.off-site-protected
a-5: disposals.recorded
R-1: risks.owner-active risks.accepted-by-owner risks.review-in-time
C-1: changes.approved-before changes.approved-by-another changes.tested-before
C-3: changes.emergency-reviewed changes.critical-watched
I-1: incidents.contained-in-time incidents.lessons-recorded incidents.evidence-secured incidents.authorities-told
AR-1: access-requests.approved-before access-requests.approved-by-another
AR-3: access-requests.privileged-end
E-2: exceptions.approved-by-another exceptions.end
RV-2: access-reviews.held-in-time access-reviews.acted-upon
RT-3: restore-tests.passed restore-tests.within-target
AU-3: audits.tests-agreed
AU-1: audits.held-when-planned audits.actions-closed audits.auditor-independent
DR-3: requests.test-data-approved
TI-1: advisories.assessed-in-time advisories.acted-upon
PR-1: projects.tested projects.outsourced-accepted
registers: leavers.complete joiners.complete training.valid acknowledgements.policy audits.management-review-held
"""
_BAD = """\
POL-02: documents.review-in-time
POL-03: documents.terminology
{gone}/-23d: leavers.access-removed
p-6/-70d: movers.access-removed
p-5/secure-coding/-20d: training.on-time
s-2: suppliers.agreement-in-force
a-2: assets.not-held-by-leavers
a-3: assets.owner-active
C-2: changes.approved-before
I-2: incidents.contained-in-time
AR-2: access-requests.approved-by-another
E-1: exceptions.end
RV-1: access-reviews.acted-upon
RT-2: restore-tests.passed
"""


def write(folder: Path) -> Seeded:
    """Write every register and document as of today, and say what is expected of them."""
    today = datetime.now(UTC)
    seeded = Seeded()
    (folder / "documents").mkdir(parents=True)
    for name, text in DOCUMENTS.items():
        (folder / "documents" / f"{name}.md").write_text(_dated(text, today), "utf-8")
    for name, text in TABLES.items():
        rows = list(csv.DictReader(io.StringIO(_dated(text, today))))
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, shape(name).columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        seeded.made(len(rows))
    seeded.made(len(DOCUMENTS))
    for outcome, text in (("good", _GOOD), ("bad", _BAD)):
        for line in _dated(text.replace("{gone}", GONE), today).splitlines():
            resource, _, checks = line.partition(": ")
            seeded.expect(resource, kind="register", **{outcome: checks})
    for user in PEOPLE[:-1]:
        seeded.expect(user, kind="joins.aws", good="owned")
    seeded.expect("fritz", kind="joins.aws", bad="owned")
    seeded.expect("build-bot", kind="joins.aws", skip="owned")
    seeded.expect("anna", kind="joins.aws", good="leavers-console")
    seeded.expect(LEAVER, kind="joins.aws", good="owned", bad="leavers-console")
    return seeded


def _dated(text: str, today: datetime) -> str:
    """The text with real days and times."""

    def day(match: re.Match[str]) -> str:
        shown = (today + timedelta(days=int(match[1]))).date().isoformat()
        return f"{shown}T{match[2]}:00Z" if match[2] else shown

    return re.sub(r"(?<!\w)([+-]\d+)d\b(?: (\d\d:\d\d))?", day, text)
