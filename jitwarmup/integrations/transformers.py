from jitwarmup.integrations.tokens import TokenTimer, TokenTimes
