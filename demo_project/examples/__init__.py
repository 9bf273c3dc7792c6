"""Small applications, one for each of the framework's examples. ``docs/examples.md`` says what each shows."""
