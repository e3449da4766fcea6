"""How the database and what belongs to it are, told in time whatever is broken."""
