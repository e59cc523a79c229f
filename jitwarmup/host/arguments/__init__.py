"""What a call's arguments allow, known by their structure; their shapes; and results that are still to come."""
