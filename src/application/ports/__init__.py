"""What the use cases need of the outside world. Adapters and fakes pass the same contract tests."""
