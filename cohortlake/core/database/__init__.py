"""Reading a relational database as deliveries of a silo: the SQL that asks, and what a deleted row becomes. No I/O."""
