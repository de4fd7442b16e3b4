"""The Graph API: Meta's side of the set-up. Pure readers and planners, and one client on httpx."""
