"""The whole story on an embedded estate: no credentials, nothing outside loopback."""
