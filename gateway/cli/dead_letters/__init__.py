"""`gateway dead-letters`: which are meant, where they are looked up, what is said of them, what is done."""
