"""Studies: the library put to work as a whole, from checkpoints and SPECs to stored results and figures."""
