"""What the process and the machine give: clock, random streams, arguments, torch's thread state, scope, fork safety."""
