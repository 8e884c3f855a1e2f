"""The command `landscape`: thin commands over the library, one a file."""
