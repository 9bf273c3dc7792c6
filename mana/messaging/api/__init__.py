"""REST: doors to the services, with no rule of their own."""
