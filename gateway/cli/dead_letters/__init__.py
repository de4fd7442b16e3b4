"""`gateway dead-letters`: which are meant, what is said of them, what is done."""
