"""What the project is compared with: the consumer of the Channels tutorial, and the same with its messages stored."""
