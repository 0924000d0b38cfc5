"""Reading a relational database as deliveries of a silo: the SQL that asks. No I/O."""
