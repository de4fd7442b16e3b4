"""`gateway status`: asking the running gateway, and drawing what it says."""
