"""What tests of projects that use mana can share: suites for replacements of parts."""
