"""Object stores: how their URLs read, how one is opened, and what goes wrong there."""
