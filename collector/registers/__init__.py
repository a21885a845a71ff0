"""The organisation's own registers: CSV files and documents with a head, held to their JSON Schemas row by row.

Nothing here opens a file or a connection: bytes come in, rows and faults go out.
"""
