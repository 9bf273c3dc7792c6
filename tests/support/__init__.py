"""What the tests share: services on loopback, servers, clients."""
