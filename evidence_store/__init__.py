"""Objects, log, keys and verification of sealed evidence; knows nothing of how it was collected."""
