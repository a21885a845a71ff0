"""Objects, log, keys and verification of sealed evidence; knows nothing of how it was collected.

An auditor installs and reads this package alone: ``python -m evidence_store verify STORE --key FINGERPRINT``.
It imports neither the collector nor a cloud SDK.
"""
