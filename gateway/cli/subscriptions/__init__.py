"""`gateway subscriptions`: `commands` takes the options, `call` looks up what Meta's API is called with."""
